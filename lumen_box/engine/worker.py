"""The engine process: ``python -m lumen_box.engine.worker``, started by the launcher and sandboxed before it runs.

Four threads. One reads the control socket. One turns prompts into tokens, so that a long one does not delay a
cancellation. The main one does nothing but schedule → decode → sample. One writes: a frame per step, and a beat in
between. When the gateway goes away, so does this process, at once.
"""

from __future__ import annotations

import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from ..errors import LumenError
from ..launcher.child import enter
from .answering import Answering, check_limits, prompt_tokens
from .decoder import Broken, Decoder
from .framing import Frames, ProtocolError, pack, unpack
from .loading import LoadedModel, load
from .protocol import (
    BEAT_SECONDS,
    Beat,
    Cancel,
    Event,
    Finished,
    FromWorker,
    Generate,
    Load,
    Loaded,
    LoadFailed,
    Loading,
    Ready,
    Refused,
    Step,
    Stop,
    Timings,
    TokenIds,
    Tokenize,
    ToWorker,
    Usage,
)

RECEIVE: Final = 1 << 16
TOKENIZER_STACK: Final = 256 << 20  # some vocabularies' patterns recurse once for every character of a long word
BROKEN: Final = 3  # the exit status after llama.cpp has failed

Work = Answering | Cancel


def main() -> int:
    control = enter()
    control.setblocking(True)
    outbox = Outbox(control)
    outbox.put(Ready(os.getpid()))
    inbox = receive(control)
    loaded, markers = _load(inbox, outbox)
    if loaded is None:
        outbox.close()
        return 0
    _serve(loaded, markers, inbox, outbox)
    return BROKEN


def _load(inbox: Inbox, outbox: Outbox) -> tuple[LoadedModel | None, tuple[str, str] | None]:
    """Answers the one ``Load``; no model if it failed or was only a check."""
    message, tail, fd = next(inbox)
    if not isinstance(message, Load) or fd is None:
        raise ProtocolError("a worker's first message is Load, with a descriptor")
    try:
        loaded = load(fd, tail, message, lambda percent: outbox.put(Loading(percent)))
    except (LumenError, OSError) as error:
        outbox.put(_failure(error))
        return None, None
    outbox.put(Loaded(loaded.facts))
    for marker in message.reasoning or ():
        loaded.model.show(marker)
    return (None if message.check_only else loaded), message.reasoning


def _failure(error: LumenError | OSError) -> LoadFailed:
    if isinstance(error, LumenError):
        return LoadFailed(error.code, error.what, error.then)
    return LoadFailed("unexpected", f"The stored weights cannot be read: {error.strerror}.", "Check the disk.")


def _serve(loaded: LoadedModel, markers: tuple[str, str] | None, inbox: Inbox, outbox: Outbox) -> None:
    """Decodes until llama.cpp fails; the gateway's going ends the process from the reading thread."""
    decoder = Decoder(loaded.context, loaded.facts.parallel, loaded.facts.batch)
    work: queue.SimpleQueue[Work] = queue.SimpleQueue()
    desk = Desk(loaded, markers, work, outbox)
    outbox.watch(decoder)
    threading.Thread(target=desk.read, args=(inbox,), name="read", daemon=True).start()
    size = threading.stack_size(TOKENIZER_STACK)
    threading.Thread(target=desk.prepare, name="tokenize", daemon=True).start()
    threading.stack_size(size)
    try:
        while True:
            outbox.tell([event for item in _arrived(work, wait=not decoder) if (event := _take(decoder, item))])
            if decoder:
                outbox.tell(decoder.step())
    except Broken as broken:
        outbox.tell(broken.events)
        outbox.close()


def _arrived(work: queue.SimpleQueue[Work], *, wait: bool) -> Iterator[Work]:
    """What has come in since the last step; with ``wait`` at least one thing."""
    if wait:
        yield work.get()
    while not work.empty():
        yield work.get_nowait()


def _take(decoder: Decoder, item: Work) -> Event | None:
    return decoder.cancel(item.id) if isinstance(item, Cancel) else decoder.add(item)


class Desk:
    """Reads requests, and prepares each until it can be scheduled."""

    def __init__(
        self,
        loaded: LoadedModel,
        markers: tuple[str, str] | None,
        work: queue.SimpleQueue[Work],
        outbox: Outbox,
    ) -> None:
        self._loaded, self._markers, self._work, self._outbox = loaded, markers, work, outbox
        self._unprepared: queue.SimpleQueue[Generate | Tokenize] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._preparing: set[int] = set()
        self._cancelled: set[int] = set()

    def read(self, inbox: Inbox) -> None:
        try:
            for message, _, fd in inbox:
                if fd is not None:
                    os.close(fd)
                self._sort(message)
        finally:
            os._exit(0)  # the gateway is gone, or talks nonsense; nothing here is worth keeping

    def _sort(self, message: ToWorker) -> None:
        match message:
            case Generate() | Tokenize():
                with self._lock:
                    self._preparing.add(message.id)
                self._unprepared.put(message)
            case Cancel(number):
                with self._lock:
                    early = number in self._preparing
                    if early:
                        self._cancelled.add(number)
                if not early:
                    self._work.put(message)
            case _:
                if not isinstance(message, Stop):
                    raise ProtocolError("a model is loaded already")
                os._exit(0)

    def prepare(self) -> None:
        while True:
            message = self._unprepared.get()
            if isinstance(message, Tokenize):
                self._outbox.put(self._tokenized(message))
            else:
                self._hand_on(self._prepared(message), message)

    def _hand_on(self, prepared: Answering | Refused, request: Generate) -> None:
        with self._lock:
            self._preparing.discard(request.id)
            cancelled = request.id in self._cancelled
            self._cancelled.discard(request.id)
            if isinstance(prepared, Answering) and not cancelled:
                self._work.put(prepared)
                return
        if isinstance(prepared, Answering):
            prepared.close()
            self._outbox.tell([Finished(request.id, "cancelled", Usage(0, 0), Timings(0.0, 0.0, 0.0))])
        else:
            self._outbox.tell([prepared])

    def _prepared(self, request: Generate) -> Answering | Refused:
        model, context = self._loaded.model, self._loaded.facts.context
        try:
            check_limits(request)
            ids = prompt_tokens(model, request, context)
        except LumenError as error:
            return Refused(request.id, error.code, error.what, error.then)
        return Answering(request, ids, model, context, self._markers)

    def _tokenized(self, request: Tokenize) -> TokenIds:
        with self._lock:
            self._preparing.discard(request.id)
        ids = self._loaded.model.tokenize(
            request.text, add_special=request.add_special, parse_special=request.parse_special
        )
        return TokenIds(request.id, tuple(ids))


class Outbox:
    """Frames on their way out, and the beat while there are none."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._frames: queue.SimpleQueue[FromWorker | None] = queue.SimpleQueue()
        self._pulse: Callable[[], Beat] = Beat
        self._thread = threading.Thread(target=self._write, name="write", daemon=True)
        self._thread.start()

    def put(self, message: FromWorker) -> None:
        self._frames.put(message)

    def tell(self, events: list[Event]) -> None:
        """The news of one step, if there is any."""
        if events:
            self._frames.put(Step(tuple(events)))

    def watch(self, decoder: Decoder) -> None:
        """From now on beats say how the decoder is doing."""
        self._pulse = decoder.pulse

    def close(self) -> None:
        """Sends what is left."""
        self._frames.put(None)
        self._thread.join()

    def _write(self) -> None:
        beaten = 0.0
        try:
            while True:
                try:
                    message = self._frames.get(timeout=BEAT_SECONDS)
                except queue.Empty:
                    message = self._pulse()
                if message is None:
                    return
                self._control.sendall(pack(message))
                if time.monotonic() - beaten > BEAT_SECONDS:
                    beaten = time.monotonic()
                    self._control.sendall(pack(self._pulse()))
        except OSError:
            os._exit(0)


Inbox = Iterator[tuple[ToWorker, bytes, int | None]]


def receive(control: socket.socket) -> Inbox:
    """Messages with their tail and the descriptor that came with them; ends when the gateway closes its end."""
    frames = Frames()
    descriptors: list[int] = []
    while True:
        data, fds, _, _ = socket.recv_fds(control, RECEIVE, 1)
        if not data:
            return
        descriptors += fds
        for body, tail in frames.feed(data):
            yield unpack(body, ToWorker), tail, descriptors.pop(0) if descriptors else None


if __name__ == "__main__":
    sys.exit(main())
