"""The decode thread's work for an embedding model: what ``decoder`` is for one that writes.

Texts of several requests share a step (``turns`` says which). The vectors of a step go out together, each as soon as
its text is read, and a request is finished with its last one. A cancelled one leaves before the next step. What
llama.cpp keeps of a text is dropped with the step that ends it, and overwritten by the texts that come after it, or
once there have been none for ``REST``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from .decoder import FATAL, Broken
from .embedding import Embedding
from .kept import Ids
from .pooling import PoolingContext, unit
from .protocol import MAX_SEQUENCES, MAX_WAITING, Accepted, Beat, Embedded, Event, Finished, Refused
from .turns import Piece, Turns

REST: Final = 1.0  # seconds; overwriting takes a tenth of one where the cache is a gigabyte


class Embedder:
    """All requests for embeddings under way in one context. Not thread-safe: it belongs to the decode thread."""

    def __init__(self, context: PoolingContext, most: int = MAX_WAITING) -> None:
        self._context, size = context, context.size
        self._turns = Turns(MAX_SEQUENCES, size.batch, size.cells, cut=context.chunks, most=most)
        self._requests: dict[int, Embedding] = {}
        self._steps = 0
        self._began = 0.0  # when the present call into llama.cpp began; 0 between steps
        self._read: float | None = None  # when the last step ended whose texts are still there

    def __bool__(self) -> bool:
        return bool(self._turns)

    def pulse(self) -> Beat:
        """How it is doing. Any thread may ask."""
        began = self._began
        busy = time.monotonic() - began if began else 0.0
        return Beat(self._turns.running, self._turns.waiting, self._steps, round(busy, 3))

    def add(self, request: Embedding) -> Event:
        """Takes a request on; the event is its ``Accepted`` or ``Refused``."""
        number = request.request.id
        if number in self._requests or not self._turns.add(request.reading):
            return Refused(number, "busy", "Too many requests are waiting.", "Try again in a few seconds.")
        self._requests[number] = request
        return Accepted(number, request.tokens)

    def cancel(self, number: int) -> Event | None:
        request = self._requests.get(number)
        return self._end(request, request.finished("cancelled")) if request else None

    def share(self, _prefixes: Iterable[Ids]) -> None:
        """Nothing begins with what was published: nothing is written here."""

    def forget(self, _owner: str) -> None:
        """Nothing that outlives its request can be reached; what can still be found in memory goes at once, or with the
        next pause."""
        if not self:
            self._wipe()

    def tidy(self) -> float | None:
        """To be called while there is no request: seconds until it should be again, None for never."""
        if self._read is None:
            return None
        rest = self._read + REST - time.monotonic()
        if rest > 0:
            return rest
        self._wipe()
        return None

    def _wipe(self) -> None:
        self._context.wipe()
        self._read = None

    def step(self) -> list[Event]:
        """One step; the vectors of every text that ended in it.

        Raises:
            Broken: this step's requests were ended, and the process should be replaced.
        """
        plan = self._turns.plan()
        for piece in plan:
            self._requests[piece.reading.id].begin()
        self._steps += 1
        self._began = time.monotonic()
        code = self._context.run([(piece.slot, piece.start, piece.tokens) for piece in plan])
        self._began, self._read = 0.0, time.monotonic()
        if code:
            events = self._give_up(plan, code)
            if code <= FATAL:
                raise Broken(events)
            return events
        return [event for piece in plan if piece.last for event in self._ended(piece)]

    def _ended(self, piece: Piece) -> list[Event]:
        """The vector of a text that was read to its end, and the end of its request if that was the last one."""
        request = self._requests.get(piece.reading.id)
        if request is None:  # another text of it has just given a vector that is none
            self._context.forget(piece.slot)
            return []
        try:
            vector = unit(self._context.vector(piece.slot))
        except ValueError:
            self._context.forget(piece.slot)
            message = "The model gave a vector with a number that is not finite."
            return [self._end(request, request.finished("error", message))]
        self._context.forget(piece.slot)
        events: list[Event] = [Embedded(request.request.id, piece.index, vector)]
        if request.complete and piece.index == len(request.reading.texts) - 1:
            events.append(self._end(request, request.finished("stop")))
        return events

    def _give_up(self, plan: list[Piece], code: int) -> list[Event]:
        message = f"The engine could not compute the next step ({code})."
        for piece in plan:
            self._context.forget(piece.slot)
        lost = {piece.reading.id: self._requests[piece.reading.id] for piece in plan}
        return [self._end(request, request.finished("error", message)) for request in lost.values()]

    def _end(self, request: Embedding, finished: Finished) -> Finished:
        """Forgets the request and what its slot holds."""
        if request.reading.slot >= 0:
            self._context.forget(request.reading.slot)
        self._turns.remove(request.reading)
        del self._requests[request.request.id]
        return finished
