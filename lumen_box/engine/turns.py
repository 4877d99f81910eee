"""Which texts an embedding model reads in its next step: pure, no llama.cpp.

A *reading* is one request: its texts are read in order. A step has a budget of tokens and a number of slots, one for
each text in it.

Fairness is between owners, and then between the readings of one, counted in tokens:

* The next text is of the most urgent reading; among equals of the owner, and then the reading, that has had the fewest
  tokens so far. Who comes anew begins with as many as the least of those that are there, so that nobody saves turns up.
* A text that does not fit beside the others waits for the next step, in which it is the first: nobody has had less.
* Where texts may be cut, a long one takes what is left of a step and goes on in the next. Otherwise it is read in one
  step, beside others only as far as the budget goes, so that short ones wait for at most one long text of each owner.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(eq=False)
class Reading:
    """One request: of ``texts``, as tokens, ``at`` are read, and ``done`` tokens of the next one, which holds ``slot``.
    ``served`` are the tokens that count in its fairness."""

    id: int
    texts: Sequence[Sequence[int]]
    priority: int = 0
    owner: str = ""
    at: int = 0
    done: int = 0
    slot: int = -1
    served: int = 0
    order: int = 0

    @property
    def unread(self) -> bool:
        return self.at < len(self.texts)

    @property
    def next(self) -> Sequence[int]:
        return self.texts[self.at]

    @property
    def begun(self) -> bool:
        return bool(self.at or self.done)


@dataclass(frozen=True)
class Piece:
    """Tokens ``start`` up to ``end`` of a text; ``last`` if they are its end."""

    reading: Reading
    index: int
    slot: int
    start: int
    end: int

    @property
    def text(self) -> Sequence[int]:
        return self.reading.texts[self.index]

    @property
    def last(self) -> bool:
        return self.end == len(self.text)

    @property
    def tokens(self) -> Sequence[int]:
        return self.text[self.start : self.end]


class Turns:
    """Holds every reading from its arrival until it is removed.

    Args:
        slots: texts of one step.
        budget: tokens of an ordinary step.
        cells: tokens of texts that may be under way at once; no text is longer.
        cut: whether a text may be read in several steps.
        most: readings that are taken on at once.
    """

    def __init__(self, slots: int, budget: int, cells: int, *, cut: bool, most: int) -> None:
        self._slots, self._budget, self._cells, self._cut, self._most = slots, budget, cells, cut, most
        self._readings: dict[int, Reading] = {}
        self._served: dict[str, int] = {}
        self._orders = itertools.count()

    def add(self, reading: Reading) -> bool:
        """Takes it on, or says no because too many are there."""
        if len(self._readings) >= self._most:
            return False
        if reading.owner not in self._served:
            self._served[reading.owner] = min(self._served.values(), default=0)
        theirs = [other.served for other in self._readings.values() if other.owner == reading.owner]
        reading.served, reading.order = min(theirs, default=0), next(self._orders)
        self._readings[reading.id] = reading
        return True

    def remove(self, reading: Reading) -> None:
        """Forgets it. What its slot holds must be cleared before the next :meth:`plan`."""
        del self._readings[reading.id]
        if all(other.owner != reading.owner for other in self._readings.values()):
            del self._served[reading.owner]

    @property
    def running(self) -> int:
        return sum(reading.begun for reading in self._readings.values())

    @property
    def waiting(self) -> int:
        return len(self._readings) - self.running

    def __bool__(self) -> bool:
        return bool(self._readings)

    def plan(self) -> list[Piece]:
        """The next step, which counts as read; never empty while there is a reading with a text unread."""
        room = _Room(self._slots, self._budget, self._cells, self._cut, self._readings.values())
        heap = [(self._rank(reading), reading) for reading in self._readings.values() if reading.unread]
        heapq.heapify(heap)
        pieces: list[Piece] = []
        while heap and room.left > 0:
            rank, reading = heapq.heappop(heap)
            now = self._rank(reading)
            if now != rank:  # its owner has had more since
                heapq.heappush(heap, (now, reading))
            elif piece := room.take(reading):
                pieces.append(piece)
                self._count(piece)
                if reading.unread:
                    heapq.heappush(heap, (self._rank(reading), reading))
        return pieces

    def _rank(self, reading: Reading) -> tuple[int, int, int, int]:
        return reading.priority, self._served[reading.owner], reading.served, reading.order

    def _count(self, piece: Piece) -> None:
        reading, size = piece.reading, piece.end - piece.start
        reading.served += size
        self._served[reading.owner] += size
        if piece.last:
            reading.at, reading.done, reading.slot = reading.at + 1, 0, -1
        else:
            reading.done, reading.slot = piece.end, piece.slot


class _Room:
    """What is left of one step."""

    def __init__(self, slots: int, budget: int, cells: int, cut: bool, readings: Iterable[Reading]) -> None:
        held = [reading for reading in readings if reading.slot >= 0]
        taken = {reading.slot for reading in held}
        self._free = [slot for slot in reversed(range(slots)) if slot not in taken]
        self._cells = cells - sum(len(reading.next) for reading in held)
        self._cut, self._budget, self.left = cut, budget, budget

    def take(self, reading: Reading) -> Piece | None:
        """The next piece of a reading, or nothing where it does not fit."""
        slot, unread = reading.slot, len(reading.next) - reading.done
        if slot < 0:
            alone = self.left == self._budget
            if not self._free or unread > self._cells or not (self._cut or alone or unread <= self.left):
                return None
            slot = self._free.pop()
            self._cells -= unread
        size = min(unread, self.left) if self._cut else unread
        self.left -= size
        return Piece(reading, reading.at, slot, reading.done, reading.done + size)
