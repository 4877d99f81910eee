"""The decode thread's work: schedule → decode → sample, one step at a time, for all answers at once.

Requests come in between steps. A cancelled one leaves before the next step, so cancelling takes at most one. The news
of a step go out together. llama.cpp's own failures end the answers of that step, not the process, as long as llama.cpp
says so instead of crashing.
"""

from __future__ import annotations

import time

from .answering import Answering
from .llama import Context
from .protocol import MAX_WAITING, Accepted, Beat, Event, Finished, Refused
from .scheduler import Chunk, Scheduler

FATAL = -2  # llama_decode: memory could not be allocated, or the computation failed; what follows cannot be trusted


class Broken(Exception):
    """llama.cpp failed in a way after which this process should end; ``events`` are the last news."""

    def __init__(self, events: list[Event]) -> None:
        super().__init__("llama.cpp failed")
        self.events = events


class Decoder:
    """All answers under way in one context. Not thread-safe: it belongs to the decode thread."""

    def __init__(self, context: Context, slots: int, budget: int, most_waiting: int = MAX_WAITING) -> None:
        self._context = context
        self._scheduler = Scheduler(slots, budget, most_waiting)
        self._answers: dict[int, Answering] = {}
        self._steps = 0
        self._began = 0.0  # when the present call into llama.cpp began; 0 between steps

    def __bool__(self) -> bool:
        return bool(self._scheduler)

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

    def step(self) -> list[Event]:
        """One decode step; the news of every sequence in it.

        Raises:
            Broken: this step's answers were ended, and the process should be replaced.
        """
        plan = self._scheduler.plan()
        for chunk in plan:
            self._answers[chunk.sequence.id].begin()
        self._steps += 1
        self._began = time.monotonic()
        runs = [(chunk.sequence.slot, chunk.start, chunk.tokens, chunk.last) for chunk in plan]
        code = self._context.decode(runs)
        self._began = 0.0
        if code:
            events = self._give_up(plan, code)
            if code <= FATAL:
                raise Broken(events)
            return events
        return self._sample(plan)

    def _sample(self, plan: list[Chunk]) -> list[Event]:
        events: list[Event] = []
        row = -1
        for chunk in plan:
            row += chunk.end - chunk.start
            chunk.sequence.done = chunk.end
            if not chunk.last:
                continue
            answer = self._answers[chunk.sequence.id]
            news, finished = answer.sample(self._context, row)
            events.append(news)
            if finished:
                events.append(self._end(answer, finished))
        return events

    def _give_up(self, plan: list[Chunk], code: int) -> list[Event]:
        message = f"The engine could not compute the next step ({code})."
        lost = [self._answers[chunk.sequence.id] for chunk in plan]
        return [self._end(answer, answer.finished("error", message)) for answer in lost]

    def _end(self, answer: Answering, finished: Finished) -> Finished:
        """Forgets the answer and what its slot holds."""
        if answer.sequence.slot >= 0:
            self._context.forget(answer.sequence.slot)
        self._scheduler.remove(answer.sequence)
        del self._answers[answer.request.id]
        answer.close()
        return finished
