"""Which slot a sequence gets, and how much of its prompt is there already.

llama.cpp computes neighbouring slots together and the rest in a pass of its own through all weights. So a new sequence
gets a slot beside those that run where there is one, and a running one is moved where a gap has opened between them,
as long as its state is small against the weights that every further pass has to read.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from .kept import Found, Kept, Published
from .prefixes import Prefixes
from .scheduler import Scheduler
from .sequence import Running

MOVABLE: Final = 1 / 8  # of the weights' bytes: the largest state that is worth moving


def pieces(slots: Collection[int]) -> int:
    """Into how many runs of neighbours the slots fall: llama.cpp's passes through the weights for one token each."""
    return sum(slot - 1 not in slots for slot in set(slots))


class Seats:
    """Gives out slots.

    Args:
        prefixes: what is kept.
        weights: bytes of the model's weights.
    """

    def __init__(self, prefixes: Prefixes, weights: int) -> None:
        self._prefixes, self._largest = prefixes, int(weights * MOVABLE)
        self._wanted: dict[int, tuple[Published, Running]] = {}

    def seat(self, sequence: Running, free: Sequence[int], taken: Collection[int]) -> int | None:
        """A slot for it, with ``done`` tokens of its prompt in it; None while it had better wait for a prefix."""
        if sequence.isolated or sequence.silent:
            return self._empty(free, taken)
        found = self._prefixes.best(sequence.owner, sequence.ids)
        unread = self._prefixes.unread(sequence.ids, found.length if found else 0)
        if unread:
            self._wanted.setdefault(id(unread), (unread, sequence))
            return None
        if found is None:
            return self._empty(free, taken)
        if isinstance(found.source, Kept) and found.in_slot:
            slot = found.source.slot
            there = self._prefixes.take_over(found.source, found)
        else:
            slot = self._empty(free, taken, found)
            there = self._prefixes.fill(slot, found)
        sequence.done = sequence.reused = found.length if there else 0
        return slot

    def take_wanted(self) -> list[tuple[Published, Running]]:
        """The published prefixes that somebody had to wait for since the last call, and the most urgent who did."""
        wanted, self._wanted = list(self._wanted.values()), {}
        return wanted

    def gather(self, scheduler: Scheduler) -> None:
        """Where there are gaps between those that run, moves the first or the last of them, whichever is shorter, into
        one; a gap at a step. Who waits will fill the gap, so then nobody is moved."""
        taken = {sequence.slot: sequence for sequence in scheduler.sequences}
        if pieces(taken) < 2 or scheduler.waiting:
            return
        slot = min(min(taken), max(taken), key=lambda end: taken[end].done)
        gaps = [gap for gap in scheduler.free if min(taken) < gap < max(taken)]
        to = min(gaps, key=lambda gap: (self._prefixes.idle(gap) is not None, abs(gap - slot)))
        if self._prefixes.move(slot, to, taken[slot].done, self._largest):
            scheduler.move(taken[slot], to)

    def _empty(self, free: Sequence[int], taken: Collection[int], due: Found | None = None) -> int:
        idle = {kept.slot: kept.used for kept in self._prefixes.kept if kept.slot >= 0}
        slot = min(free, key=lambda one: (pieces({*taken, one}), idle.get(one, -1.0), one))
        self._prefixes.vacate(slot, due)
        return slot
