"""The engine process: ``python -m lumen_box.engine.worker``, started by the launcher and sandboxed before it runs.

Four threads. One reads the control socket. One turns prompts into tokens, so that a long one does not delay a
cancellation. The main one does nothing but schedule → decode → sample. One writes: a frame per step, and a beat in
between. When the gateway goes away, so does this process, at once.
"""

from __future__ import annotations

import dataclasses
import os
import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

from ..errors import LumenError
from ..launcher.child import enter
from .answering import Answering
from .decoder import Broken, Decoder
from .desk import Desk, Publish, Work
from .embedder import Embedder
from .embedding import Embedding
from .embedding_desk import EmbeddingDesk
from .framing import ProtocolError
from .kept import Ids
from .llama import Context
from .loading import LoadedModel, load
from .protocol import Beat, Cancel, Event, Forget, Load, Loaded, LoadFailed, Loading, Ready
from .wire import Inbox, Outbox, receive

BROKEN: Final = 3  # the exit status after llama.cpp has failed


class Steps(Protocol):
    """All requests under way, whatever the model is for: :class:`Decoder` or :class:`Embedder`."""

    def __bool__(self) -> bool: ...
    def pulse(self) -> Beat: ...
    def add(self, request: Any, /) -> Event: ...
    def cancel(self, number: int) -> Event | None: ...
    def share(self, prefixes: Iterable[Ids], /) -> None: ...
    def forget(self, owner: str) -> None: ...
    def tidy(self) -> float | None: ...
    def step(self) -> list[Event]: ...


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
    message, tail, fd = next(inbox, (None, b"", None))
    if message is None:
        return None, None
    if not isinstance(message, Load) or fd is None:
        raise ProtocolError("a worker's first message is Load, with a descriptor")
    try:
        loaded = load(fd, tail, message, lambda percent: outbox.put(Loading(percent)))
    except (LumenError, OSError) as error:
        outbox.put(_failure(error))
        return None, None
    outbox.put(Loaded(loaded.facts))
    if message.check_only:
        return None, None
    markers = message.reasoning if message.reasoning and all(message.reasoning) else None
    for marker in markers or ():
        loaded.model.show(marker)
    return loaded, markers


def _failure(error: LumenError | OSError) -> LoadFailed:
    if isinstance(error, LumenError):
        return LoadFailed(error.code, error.what, error.then)
    return LoadFailed("unexpected", f"The stored weights cannot be read: {error.strerror}.", "Check the disk.")


def _serve(loaded: LoadedModel, markers: tuple[str, str] | None, inbox: Inbox, outbox: Outbox) -> None:
    """Decodes until llama.cpp fails; the gateway's going ends the process from the reading thread."""
    work: queue.SimpleQueue[Work] = queue.SimpleQueue()
    decoder, desk = _by_role(loaded, markers, work, outbox)

    def pulse() -> Beat:
        """A text on which the tokenizer does not end counts as a step that does not end."""
        beat = decoder.pulse()
        return dataclasses.replace(beat, step_seconds=round(max(beat.step_seconds, desk.busy), 3))

    outbox.watch(pulse)
    threading.Thread(target=desk.read, args=(inbox,), name="read", daemon=True).start()
    threading.Thread(target=desk.prepare, name="tokenize", daemon=True).start()
    try:
        while True:
            due = None if decoder else decoder.tidy()
            arrived = _arrived(work, wait=not decoder, most=due)
            outbox.tell([event for item in arrived if (event := _take(decoder, item))])
            if decoder:
                outbox.tell(decoder.step())
    except Broken as broken:
        outbox.tell(broken.events)
        outbox.close()


def _by_role(
    loaded: LoadedModel, markers: tuple[str, str] | None, work: queue.SimpleQueue[Work], outbox: Outbox
) -> tuple[Steps, Desk]:
    """What goes from step to step, and the desk that prepares its requests."""
    context, facts = loaded.context, loaded.facts
    if isinstance(context, Context):
        decoder = Decoder(context, facts.parallel, facts.batch, room=facts.cache_bytes)
        decoder.warm_up()
        return decoder, Desk(loaded, markers, work, outbox)
    return Embedder(context), EmbeddingDesk(loaded, markers, work, outbox)


def _arrived(work: queue.SimpleQueue[Work], *, wait: bool, most: float | None) -> Iterator[Work]:
    """What has come in since the last step; with ``wait`` at least one thing, or nothing in ``most`` seconds."""
    if wait:
        try:
            yield work.get(timeout=most)
        except queue.Empty:
            return
    while not work.empty():
        yield work.get_nowait()


def _take(decoder: Steps, item: Work) -> Event | None:
    match item:
        case Cancel(number):
            return decoder.cancel(number)
        case Forget(owner):
            decoder.forget(owner)
        case Publish(prefixes):
            decoder.share(prefixes)
        case Answering() | Embedding():
            return decoder.add(item)
    return None


if __name__ == "__main__":
    sys.exit(main())
