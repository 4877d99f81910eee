"""Which tokens of which sequence go into the next decode step: pure, no llama.cpp.

A *sequence* is one answer: prompt tokens, then sampled ones. It waits, then holds a *slot* (a llama.cpp sequence with
its own KV cache), reads its prompt in chunks (prefill) and then writes one token a step (decode).

Fairness is between owners, not requests: ten requests of one owner count as one.

* A free slot goes to the most urgent; among equals to whoever has the fewest answers running, then to whoever was
  given one longest ago, then to who came first. Which slot that is, and how much of the prompt is in it already,
  ``seat`` decides; it may also let a sequence wait.
* A sequence that is ``isolated`` runs alone: it begins when nothing else runs, and nothing else begins beside it.
* A step has a budget of tokens. Those that decode get theirs first. Of the rest, prompts that are *short* may have
  ``QUICK`` tokens, and beyond that as many may be read as ``Pace`` says; see there.
* They go to the most urgent prompts: in three steps of four first to whoever has least left to read, in the fourth to
  whoever came first, so that short questions are answered first and no document starves. One after the other, since
  that gives earlier first tokens than reading all evenly, and since llama.cpp needs a pass through all weights for
  every different length in a step.
* Whoever has least left: owners are compared, so that ten prompts of one count as one. Where all are of one owner (a
  program that asks on behalf of many) each sequence counts for itself.
* Alone on the engine a prompt is read in chunks of the whole budget, as ``Llama`` does.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from .pace import Load, Pace
from .sequence import Chunk, Running

SHORT: Final = 512  # tokens; a longer prompt is a document, which may take its time
QUICK: Final = 192  # tokens of short prompts that a step may read whatever that costs the others
WORTH: Final = 32  # tokens, or the rest of a prompt: for less no further prompt is begun beside those who write
TURNS: Final = 4  # one step in so many begins with whoever came first


Seat = Callable[[Running, Sequence[int], Collection[int]], int | None]


def lowest(_sequence: Running, free: Sequence[int], _taken: Collection[int]) -> int | None:
    """The plainest ``Seat``."""
    return free[0]


class Scheduler:
    """Holds every sequence from its arrival until it is removed.

    Args:
        slots: sequences that run at once.
        budget: tokens of one step, at least ``slots``.
        most_waiting: sequences that may wait beyond those.
        seat: chooses among the free slots (and is told the taken ones), and says what of the prompt is there already.
        pace: how many tokens may be read beside those that decode; without it as many as the budget has.
    """

    def __init__(
        self, slots: int, budget: int, most_waiting: int, seat: Seat = lowest, pace: Pace | None = None
    ) -> None:
        if not 0 < slots <= budget:
            raise ValueError("a step must have room for one token of every sequence")
        self._budget, self._most_waiting, self._seat, self._pace = budget, most_waiting, seat, pace
        self._free = list(range(slots))
        self._waiting: list[Running] = []
        self._running: dict[int, Running] = {}
        self._turn = self._step = 0
        self._turns: dict[str, int] = {}  # when each owner was last given a slot

    def add(self, sequence: Running, *, extra: bool = False) -> bool:
        """Takes it on, or says no because too many wait; an ``extra`` one is always taken."""
        if len(self._waiting) >= self._most_waiting and not extra:
            return False
        self._waiting.append(sequence)
        return True

    def remove(self, sequence: Running) -> None:
        """Forgets it, wherever it is. Its slot is free from now on."""
        if self._running.pop(sequence.id, None):
            self._free.append(sequence.slot)
            self._free.sort()
        else:
            self._waiting = [other for other in self._waiting if other is not sequence]

    def hurry(self, number: int, priority: int) -> None:
        """Makes a sequence at least as urgent as ``priority``."""
        for sequence in (*self._waiting, *self._running.values()):
            if sequence.id == number:
                sequence.priority = min(sequence.priority, priority)

    def move(self, sequence: Running, slot: int) -> None:
        """A running sequence has changed to a free slot."""
        self._free[self._free.index(slot)] = sequence.slot
        self._free.sort()
        sequence.slot = slot

    @property
    def sequences(self) -> list[Running]:
        """Those that hold a slot."""
        return list(self._running.values())

    @property
    def free(self) -> list[int]:
        return list(self._free)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def __bool__(self) -> bool:
        return bool(self._running or self._waiting)

    def ahead(self) -> dict[int, int]:
        """For each sequence that waits, how many will be begun before it as things stand."""
        return {sequence.id: place for place, sequence in enumerate(self._ranked())}

    def plan(self) -> list[Chunk]:
        """The next step in the order of the slots, never more tokens than the budget. Empty only while all who could
        begin had better wait."""
        self._admit()
        decoding = [s for s in self._running.values() if s.decoding]
        chunks = [Chunk(s, s.done, len(s.tokens)) for s in decoding]
        chunks += self._prefill(self._allowed(decoding), WORTH if decoding and self._pace else 1)
        return sorted(chunks, key=lambda chunk: chunk.sequence.slot)

    def _admit(self) -> None:
        for chosen in list(self._ranked()) if self._free else ():
            alone = chosen.isolated or any(other.isolated for other in self._running.values())
            if not self._free or (alone and self._running):
                return
            taken = [other.slot for other in self._running.values()]
            slot = self._seat(chosen, tuple(self._free), taken)
            if slot is None:
                continue
            self._waiting.remove(chosen)
            self._free.remove(slot)
            chosen.slot = slot
            self._running[chosen.id] = chosen
            self._turn += 1
            self._turns[chosen.owner] = self._turn
        if not self._waiting:
            self._turns.clear()

    def _ranked(self) -> Iterator[Running]:
        """Those that wait, in the order in which they would be given slots if nobody came or left."""
        answers = Counter(other.owner for other in self._running.values())
        turns, turn = dict(self._turns), self._turn
        queues: dict[tuple[int, str], deque[tuple[int, Running]]] = {}
        for place, sequence in enumerate(self._waiting):
            queues.setdefault((sequence.priority, sequence.owner), deque()).append((place, sequence))
        while queues:
            first = min(queues, key=lambda key: (key[0], answers[key[1]], turns.get(key[1], 0), queues[key][0][0]))
            _, sequence = queues[first].popleft()
            if not queues[first]:
                del queues[first]
            turn += 1
            answers[sequence.owner] += 1
            turns[sequence.owner] = turn
            yield sequence

    def _allowed(self, decoding: list[Running]) -> int:
        """How many prompt tokens the next step may read."""
        left = self._budget - len(decoding)
        reading = [sequence for sequence in self._running.values() if not sequence.decoding]
        if self._pace is None or not decoding or not reading:
            return left
        brief = [sequence for sequence in reading if sequence.prompt - sequence.reused <= SHORT]
        quick = min(QUICK, sum(need for need in _needs(brief).values() if need <= SHORT))
        return min(left, quick if quick == QUICK else max(quick, self._pace.allowed(Load.of(decoding, reading))))

    def _prefill(self, left: int, worth: int) -> Iterator[Chunk]:
        """One prompt after the other; every further one only for ``worth`` tokens, or all it has left."""
        reading = [sequence for sequence in self._running.values() if not sequence.decoding]
        self._step += bool(reading)
        needs = _needs(reading)
        oldest = self._step % TURNS == 0
        place = {person: 0 if oldest and not rank else need for rank, (person, need) in enumerate(needs.items())}
        alone = len({sequence.owner for sequence in reading}) == 1
        begun = False
        for sequence in sorted(reading, key=lambda one: (one.priority, place[one.id if alone else one.owner])):
            size = min(left, sequence.unread)
            if size and (not begun or size >= min(worth, sequence.unread)):
                begun = True
                left -= size
                yield Chunk(sequence, sequence.done, sequence.done + size)


def _needs(reading: list[Running]) -> dict[str | int, int]:
    """How many tokens each person's prompts have left, in the order in which these began."""
    alone = len({sequence.owner for sequence in reading}) == 1
    needs: dict[str | int, int] = {}
    for sequence in reading:
        person = sequence.id if alone else sequence.owner
        needs[person] = needs.get(person, 0) + sequence.unread
    return needs
