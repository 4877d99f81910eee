"""Where requests come in: reads them, and prepares each until it can be scheduled.

Two threads. One reads messages, so that a cancellation is never behind a long text; the other turns prompts into
tokens. A request cancelled before its turn is not prepared at all, and one cancelled meanwhile never reaches the decode
thread.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import LumenError
from .answering import Answering, check_limits, prompt_tokens
from .embedding import Embedding
from .framing import ProtocolError
from .kept import Ids
from .loading import LoadedModel
from .pile import Pile
from .protocol import (
    MAX_SHARED,
    MAX_SHARED_TEXT,
    Cancel,
    Embed,
    Finished,
    Forget,
    Generate,
    Refused,
    Share,
    Timings,
    TokenIds,
    Tokenize,
    ToWorker,
    Usage,
)
from .tokenizing import tokenize
from .wire import Inbox, Outbox


@dataclass(frozen=True)
class Publish:
    """``Share``, as tokens: prefixes that fit the context, with room for a question."""

    prefixes: tuple[Ids, ...]


Work = Answering | Embedding | Cancel | Forget | Publish


@contextlib.contextmanager
def _or_exit() -> Iterator[None]:
    """A thread that fails takes the process with it: without it the others would only seem to work."""
    try:
        yield
    except BaseException:
        traceback.print_exc()
        os._exit(1)


class Desk:
    """All requests from their arrival until they are in ``work`` or have been answered. What a request has to become is
    decided in ``_prepared``; here for a model that writes."""

    def __init__(
        self,
        loaded: LoadedModel,
        markers: tuple[str, str] | None,
        work: queue.SimpleQueue[Work],
        outbox: Outbox,
    ) -> None:
        self._loaded, self._markers, self._work, self._outbox = loaded, markers, work, outbox
        self._began = 0.0  # when the present request came to be prepared; 0 between requests
        self._unprepared = Pile()
        self._lock = threading.Lock()
        self._preparing: set[int] = set()
        self._cancelled: set[int] = set()

    def read(self, inbox: Inbox) -> None:
        """Reads until the gateway is gone or talks nonsense; then nothing here is worth keeping."""
        with _or_exit():
            for message, _, fd in inbox:
                if fd is not None:
                    os.close(fd)
                self._sort(message)
            os._exit(0)

    def _sort(self, message: ToWorker) -> None:
        match message:
            case Generate() | Embed() | Tokenize():
                with self._lock:
                    self._preparing.add(message.id)
                self._unprepared.put(message)
            case Cancel(number):
                if self._unprepared.withdraw(number):
                    self._preparing.discard(number)
                    self._outbox.tell([_cancelled(number)])
                    return
                with self._lock:
                    early = number in self._preparing
                    if early:
                        self._cancelled.add(number)
                if not early:
                    self._work.put(message)
            case Share():
                self._unprepared.put(message)
            case Forget():
                self._work.put(message)
            case _:
                raise ProtocolError("a model is loaded already")

    def prepare(self) -> None:
        """Prepares requests, one after the other, for ever."""
        with _or_exit():
            while True:
                message = self._unprepared.take()
                self._began = time.monotonic()
                match message:
                    case Tokenize():
                        self._outbox.put(self._tokenized(message))
                    case Share():
                        self._work.put(self._published(message))
                    case Generate() | Embed():
                        self._hand_on(self._prepared(message), message)
                self._began = 0.0

    @property
    def busy(self) -> float:
        """Seconds that the present request has taken so far. Any thread may ask."""
        began = self._began
        return time.monotonic() - began if began else 0.0

    def _hand_on(self, prepared: Answering | Embedding | Refused, request: Generate | Embed) -> None:
        with self._lock:
            self._preparing.discard(request.id)
            cancelled = request.id in self._cancelled
            self._cancelled.discard(request.id)
            if not isinstance(prepared, Refused) and not cancelled:
                self._work.put(prepared)
                return
        if isinstance(prepared, Refused):
            self._outbox.tell([prepared])
        else:
            prepared.close()
            self._outbox.tell([_cancelled(request.id)])

    def _prepared(self, request: Generate | Embed) -> Answering | Embedding | Refused:
        if isinstance(request, Embed):
            return Refused(request.id, "usage", "This model writes; it does not embed texts.", "Ask another model.")
        model, context = self._loaded.model, self._loaded.facts.context
        try:
            check_limits(request)
            ids = prompt_tokens(model, request, context)
            return Answering(request, ids, model, context, self._markers)
        except LumenError as error:
            return Refused(request.id, error.code, error.what, error.then)

    def _published(self, request: Share) -> Publish:
        """What cannot be turned into tokens, or does not fit, nobody's prompt can begin with."""
        if len(request.prefixes) > MAX_SHARED or sum(map(len, request.prefixes)) > MAX_SHARED_TEXT:
            raise ProtocolError("there are too many published prefixes")
        prefixes = []
        for text in request.prefixes:
            with contextlib.suppress(LumenError):
                ids = tokenize(self._loaded.model, text, add_special=True, parse_special=True)
                if 0 < len(ids) < self._loaded.facts.context:
                    prefixes.append(np.array(ids, np.int32))
        return Publish(tuple(prefixes))

    def _tokenized(self, request: Tokenize) -> TokenIds | Refused:
        with self._lock:
            self._preparing.discard(request.id)
        try:
            ids = tokenize(
                self._loaded.model,
                request.text,
                add_special=request.add_special,
                parse_special=request.parse_special,
            )
            return TokenIds(request.id, tuple(ids))
        except LumenError as error:
            return Refused(request.id, error.code, error.what, error.then)


def _cancelled(number: int) -> Finished:
    return Finished(number, "cancelled", Usage(0, 0), Timings(0.0, 0.0, 0.0))
