"""Which tokens of which sequence go into the next decode step: pure, no llama.cpp.

A *sequence* is one answer: prompt tokens, then sampled ones. It waits, then holds a *slot* (a llama.cpp sequence with
its own KV cache), reads its prompt in chunks (prefill) and then writes one token a step (decode). A step has a budget
of tokens: those that decode get theirs first, waiting prompts share what is left in the order in which they came.
Alone on the engine a prompt is read in chunks of the whole budget, as ``Llama`` does.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(eq=False)
class Running:
    """One sequence: ``tokens`` are all it consists of so far, of which the first ``done`` are in the KV cache."""

    id: int
    tokens: list[int]
    priority: int = 0
    slot: int = -1
    done: int = 0
    prompt: int = field(init=False)

    def __post_init__(self) -> None:
        self.prompt = len(self.tokens)

    @property
    def decoding(self) -> bool:
        """Only the newest token is missing from the cache, and the whole prompt is in it."""
        return self.done >= self.prompt

    @property
    def generated(self) -> int:
        return len(self.tokens) - self.prompt


@dataclass(frozen=True)
class Chunk:
    """Tokens ``start`` up to ``end`` of a sequence; ``last`` if a token is to be sampled after them."""

    sequence: Running
    start: int
    end: int

    @property
    def last(self) -> bool:
        return self.end == len(self.sequence.tokens)

    @property
    def tokens(self) -> Sequence[int]:
        return self.sequence.tokens[self.start : self.end]


class Scheduler:
    """Holds every sequence from its arrival until it is removed.

    Args:
        slots: sequences that run at once.
        budget: tokens of one step, at least ``slots``.
        most_waiting: sequences that may wait beyond those.
    """

    def __init__(self, slots: int, budget: int, most_waiting: int) -> None:
        if not 0 < slots <= budget:
            raise ValueError("a step must have room for one token of every sequence")
        self._budget, self._most_waiting = budget, most_waiting
        self._free = list(range(slots))
        self._arrivals = itertools.count()
        self._waiting: list[tuple[int, int, Running]] = []
        self._running: dict[int, Running] = {}

    def add(self, sequence: Running) -> bool:
        """Takes it on, or says no because too many wait."""
        if len(self._waiting) >= self._most_waiting:
            return False
        heapq.heappush(self._waiting, (sequence.priority, next(self._arrivals), sequence))
        return True

    def remove(self, sequence: Running) -> None:
        """Forgets it, wherever it is. Its slot must have been cleared before the next :meth:`plan`."""
        if self._running.pop(sequence.id, None):
            self._free.append(sequence.slot)
            self._free.sort()
        else:
            self._waiting = [entry for entry in self._waiting if entry[2] is not sequence]
            heapq.heapify(self._waiting)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def __bool__(self) -> bool:
        return bool(self._running or self._waiting)

    def plan(self) -> list[Chunk]:
        """The next step; never empty while there is a sequence, and never more tokens than the budget."""
        self._admit()
        decoding = [s for s in self._running.values() if s.decoding]
        chunks = [Chunk(s, s.done, len(s.tokens)) for s in decoding]
        return chunks + list(self._prefill(self._budget - len(chunks)))

    def _admit(self) -> None:
        while self._free and self._waiting:
            _, _, sequence = heapq.heappop(self._waiting)
            sequence.slot = self._free.pop(0)
            self._running[sequence.id] = sequence

    def _prefill(self, left: int) -> Iterator[Chunk]:
        for sequence in self._running.values():
            if left and not sequence.decoding:
                size = min(left, sequence.prompt - sequence.done)
                left -= size
                yield Chunk(sequence, sequence.done, sequence.done + size)
