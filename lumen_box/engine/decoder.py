"""The decode thread's work: schedule → decode → sample, one step at a time, for all answers at once.

Requests come in between steps. A cancelled one leaves before the next step, so cancelling takes at most one. The news
of a step go out together. llama.cpp's own failures end the answers of that step, not the process, as long as llama.cpp
says so instead of crashing.

A published prefix is read by a sequence of its own, without an answer: as soon as somebody needs it, or when there is
nothing else to do.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable

from .answering import Answering
from .kept import Ids, Published
from .llama import Context
from .pace import Pace
from .prefixes import Prefixes
from .protocol import MAX_WAITING, Accepted, Beat, Event, Finished, Queued, Refused
from .scheduler import Scheduler
from .seats import Seats
from .sequence import Chunk, Running

FATAL = -2  # llama_decode: memory could not be allocated, or the computation failed; what follows cannot be trusted
WARM_UP = 4  # tokens
LOOK_SECONDS = 0.25  # between two looks at who waits for how many, and what is too old
_LATER = 1_000_000  # the priority of what is read because there is nothing else to do


class Broken(Exception):
    """llama.cpp failed in a way after which this process should end; ``events`` are the last news."""

    def __init__(self, events: list[Event]) -> None:
        super().__init__("llama.cpp failed")
        self.events = events


class Decoder:
    """All answers under way in one context. Not thread-safe: it belongs to the decode thread.

    Args:
        context: has ``slots`` sequences.
        budget: tokens of one step.
        room: bytes of host memory for KV that nothing runs on.
    """

    def __init__(
        self, context: Context, slots: int, budget: int, *, room: int = 0, most_waiting: int = MAX_WAITING
    ) -> None:
        self._context = context
        self._prefixes = Prefixes(context.cells, room)
        self._seats = Seats(self._prefixes, context.weight_bytes)
        self._pace = Pace()
        self._scheduler = Scheduler(slots, budget, most_waiting, self._seats.seat, self._pace)
        self._answers: dict[int, Answering] = {}
        self._readers: dict[int, Published] = {}
        self._numbers = itertools.count(-1, -1)
        self._told: dict[int, int] = {}  # the last place in the queue that each was told
        self._looked = 0.0
        self._steps = 0
        self._began = 0.0  # when the present call into llama.cpp began; 0 between steps

    def __bool__(self) -> bool:
        return bool(self._scheduler)

    def warm_up(self) -> None:
        """Computes a few tokens that nobody asked for: what a pass through the weights costs is known before the first
        request, and whatever llama.cpp prepares at its first step is prepared."""
        for position in range(WARM_UP):
            began = time.monotonic()
            if self._context.decode([(0, position, [0], True)]):
                break
            self._context.logits(0)  # on a GPU the computing may go on until somebody looks
            self._pace.took(1, 0, time.monotonic() - began)
        self._context.cells.wipe(0)

    def pulse(self) -> Beat:
        """How it is doing. Any thread may ask."""
        began = self._began
        busy = time.monotonic() - began if began else 0.0
        return Beat(self._scheduler.running, self._scheduler.waiting, self._steps, round(busy, 3))

    def add(self, answer: Answering) -> Event:
        """Takes a request on; the event is its ``Accepted`` or ``Refused``."""
        if answer.request.id in self._answers or not self._scheduler.add(answer.sequence):
            answer.close()
            return Refused(answer.request.id, "busy", "Too many requests are waiting.", "Try again in a few seconds.")
        self._answers[answer.request.id] = answer
        return Accepted(answer.request.id, answer.sequence.prompt)

    def cancel(self, number: int) -> Event | None:
        answer = self._answers.get(number)
        return self._end(answer, answer.finished("cancelled")) if answer else None

    def share(self, prefixes: Iterable[Ids]) -> None:
        """The whole set of published prefixes, replacing the one before."""
        self._prefixes.publish(prefixes)
        self._rest()

    def forget(self, owner: str) -> None:
        """Wipes all that is kept of this owner's answers, of everybody's where it is empty. What of theirs still runs
        or waits leaves nothing behind."""
        self._prefixes.forget(owner)
        for answer in self._answers.values():
            if owner in ("", answer.request.owner):
                answer.sequence.keep = False
        self._scrub()

    def tidy(self) -> float | None:
        """Wipes what was kept for long enough. Seconds until it should be asked again, if it should."""
        due = self._prefixes.expire()
        self._scrub()
        return due

    def step(self) -> list[Event]:
        """One decode step; the news of every sequence in it.

        Raises:
            Broken: this step's answers were ended, and the process should be replaced.
        """
        plan = self._plan()
        for chunk in plan:
            if not chunk.sequence.silent:
                self._answers[chunk.sequence.id].begin()
        self._steps += 1
        began = self._began = time.monotonic()
        runs = [(chunk.sequence.slot, chunk.start, chunk.tokens, chunk.last) for chunk in plan]
        code = self._context.decode(runs)
        self._began = 0.0
        if code:
            events = self._give_up(plan, code)
            if code <= FATAL:
                raise Broken(events)
            return events
        decoding = sum(chunk.sequence.decoding for chunk in plan)
        events = self._sample(plan)
        reading = sum(chunk.end - chunk.start for chunk in plan) - decoding
        self._pace.took(decoding, reading, time.monotonic() - began, len(plan) - decoding)
        self._rest()
        return events + self._now_and_then()

    def _plan(self) -> list[Chunk]:
        self._seats.gather(self._scheduler)
        plan = self._scheduler.plan()
        for prefix, sequence in self._seats.take_wanted():
            self._read(prefix, sequence.priority)
        return plan or self._scheduler.plan()

    def _read(self, prefix: Published, priority: int) -> None:
        """Sees to it that a published prefix is read at least as urgently as ``priority``."""
        reader = next((number for number, other in self._readers.items() if other is prefix), None)
        if reader is not None:
            self._scheduler.hurry(reader, priority)
            return
        number = next(self._numbers)
        self._readers[number] = prefix
        self._scheduler.add(Running(number, prefix.ids.tolist(), priority, silent=True), extra=True)

    def _rest(self) -> None:
        """With nothing to do: reads what will be needed, and overwrites what is not."""
        if self._scheduler:
            return
        unread = self._prefixes.next_unread()
        if unread:
            self._read(unread, _LATER)
        else:
            self._scrub()

    def _scrub(self) -> None:
        if self._context.cells.dirty and not self._scheduler.running:
            self._prefixes.vacate_all()
            self._context.cells.scrub()

    def _sample(self, plan: list[Chunk]) -> list[Event]:
        events: list[Event] = []
        row = -1
        for chunk in plan:
            row += chunk.end - chunk.start
            chunk.sequence.done = chunk.end
            if chunk.sequence.silent and chunk.end == chunk.sequence.prompt:
                self._learn(chunk.sequence)
            if not chunk.last:
                continue
            answer = self._answers[chunk.sequence.id]
            news, finished = answer.sample(self._context, row)
            events.append(news)
            if finished:
                events.append(self._end(answer, finished))
        return events

    def _now_and_then(self) -> list[Event]:
        """What need not be done in every step."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return []
        self._looked = now
        self._prefixes.expire()
        return self._queue()

    def _queue(self) -> list[Event]:
        """Tells those who wait how many are before them, where that has changed."""
        ahead = {number: place for number, place in self._scheduler.ahead().items() if number in self._answers}
        changed = [Queued(number, place) for number, place in ahead.items() if self._told.get(number) != place]
        self._told = ahead
        return list(changed)

    def _learn(self, sequence: Running) -> None:
        self._prefixes.learn(self._readers.pop(sequence.id), sequence.slot)
        self._scheduler.remove(sequence)

    def _give_up(self, plan: list[Chunk], code: int) -> list[Event]:
        message = f"The engine could not compute the next step ({code})."
        events: list[Event] = []
        for sequence in [chunk.sequence for chunk in plan]:
            if sequence.silent:
                self._readers.pop(sequence.id).hopeless = True
                self._context.cells.wipe(sequence.slot)
                self._scheduler.remove(sequence)
            else:
                answer = self._answers[sequence.id]
                events.append(self._end(answer, answer.finished("error", message)))
        return events

    def _end(self, answer: Answering, finished: Finished) -> Finished:
        """Forgets the answer, and what its slot holds if that must not be kept."""
        sequence = answer.sequence
        if sequence.slot >= 0:
            keep = sequence.keep and not sequence.isolated and finished.reason != "error"
            self._prefixes.keep(sequence.owner if keep else "", sequence.tokens[: sequence.done], sequence.slot)
        self._scheduler.remove(sequence)
        del self._answers[answer.request.id]
        answer.close()
        return finished
