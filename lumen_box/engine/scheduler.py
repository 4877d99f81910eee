"""Which tokens of which sequence go into the next decode step: pure, no llama.cpp.

A *sequence* is one answer: prompt tokens, then sampled ones. It waits, then holds a *slot* (a llama.cpp sequence with
its own KV cache), reads its prompt in chunks (prefill) and then writes one token a step (decode).

Fairness is between owners, not requests: ten requests of one owner count as one.

* A free slot goes to the most urgent; among equals to whoever has the fewest answers running, then to who came first.
* A step has a budget of tokens. Those that decode get theirs first. What is left goes to the most urgent prompts,
  shared evenly between their owners: whoever needs less than a share gets all of it, so that a short question is
  read in one step beside a long document. Alone on the engine a prompt is read in chunks of the whole budget, as
  ``Llama`` does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(eq=False)
class Running:
    """One sequence: ``tokens`` are all it consists of so far, of which the first ``done`` are in the KV cache."""

    id: int
    tokens: list[int]
    priority: int = 0
    owner: str = ""
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
        self._waiting: list[Running] = []
        self._running: dict[int, Running] = {}

    def add(self, sequence: Running) -> bool:
        """Takes it on, or says no because too many wait."""
        if len(self._waiting) >= self._most_waiting:
            return False
        self._waiting.append(sequence)
        return True

    def remove(self, sequence: Running) -> None:
        """Forgets it, wherever it is. Its slot must have been cleared before the next :meth:`plan`."""
        if self._running.pop(sequence.id, None):
            self._free.append(sequence.slot)
            self._free.sort()
        else:
            self._waiting = [other for other in self._waiting if other is not sequence]

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
            answers = Counter(other.owner for other in self._running.values())
            chosen = min(self._waiting, key=lambda other: (other.priority, answers[other.owner]))
            self._waiting.remove(chosen)
            chosen.slot = self._free.pop(0)
            self._running[chosen.id] = chosen

    def _prefill(self, left: int) -> Iterator[Chunk]:
        reading = [sequence for sequence in self._running.values() if not sequence.decoding]
        for priority in sorted({sequence.priority for sequence in reading}):
            urgent = [sequence for sequence in reading if sequence.priority == priority]
            shares = _shares(urgent, left)
            for sequence in urgent:
                size = min(shares[sequence.owner], _unread(sequence))
                if size:
                    shares[sequence.owner] -= size
                    left -= size
                    yield Chunk(sequence, sequence.done, sequence.done + size)


def _unread(sequence: Running) -> int:
    return sequence.prompt - sequence.done


def _shares(reading: list[Running], left: int) -> Counter[str]:
    """How many tokens each owner's prompts get of ``left``: evenly, but nobody more than they need."""
    needs: Counter[str] = Counter()
    for sequence in reading:
        needs[sequence.owner] += _unread(sequence)
    shares: Counter[str] = Counter()
    for rank, (owner, need) in enumerate(sorted(needs.items(), key=lambda item: item[1])):
        shares[owner] = min(need, left // (len(needs) - rank))
        left -= shares[owner]
    return shares
