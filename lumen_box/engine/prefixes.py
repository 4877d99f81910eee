"""What is kept of ended answers, and of published prefixes, so that nobody's prompt is read twice.

* When an answer has ended, its KV stays in its slot, which is then *idle*, until the slot is needed. Then it is
  *parked*: copied to host memory, if the budget has room; room is made by discarding what was used longest ago.
* Only the same owner ever gets it again; nobody ("") keeps or is given anything. What an operator has published
  is read once, kept in host memory in the same budget, and given to everybody.
* What is discarded is overwritten at once: by :class:`~.kv.Cells` in a slot, by :class:`~.kv.Blob` in host memory, and
  the list of tokens too. What was not used for ``KEEP_SECONDS`` is discarded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from .kept import Found, Ids, Kept, Published, common
from .kv import Blob, Cells

LEAST: Final = 16  # tokens; fewer are read again in less time than it takes to look after them
KEEP_SECONDS: Final = 600.0


@dataclass(eq=False)
class Prefixes:
    """All KV that is kept while nothing runs on it; ``room`` bytes of it at most in host memory."""

    cells: Cells
    room: int
    clock: Callable[[], float] = time.monotonic
    kept: list[Kept] = field(default_factory=list)
    published: list[Published] = field(default_factory=list)

    # ---- what there is -------------------------------------------------------------------------------------------

    def best(self, owner: str, prompt: Ids) -> Found | None:
        """The longest beginning of the prompt that there is KV for. Its last token is always left to be read."""
        found = [Found(common(kept.ids, prompt[:-1]), kept) for kept in self.kept if owner and kept.owner == owner]
        found += [Found(common(one.ids, prompt[:-1]), one) for one in self.published if one.blob]
        usable = [one for one in found if one.length >= LEAST and (one.whole or not self.cells.whole_only)]
        # Among equals what is in a slot already, and of that what was used last.
        return max(usable, key=lambda one: (one.length, one.in_slot, one.used), default=None)

    def unread(self, prompt: Ids, better_than: int) -> Published | None:
        """A published prefix worth waiting for: not read yet, and most of it is how the prompt begins."""
        for one in self.published:
            length = common(one.ids, prompt[:-1])
            enough = max(LEAST, better_than + LEAST, len(one.ids) // 2)
            if one.blob is None and not one.hopeless and length >= enough:
                return one
        return None

    def idle(self, slot: int) -> Kept | None:
        return next((kept for kept in self.kept if kept.slot == slot), None)

    @property
    def host_bytes(self) -> int:
        """Bytes of all copies in host memory."""
        return sum(blob.size for blob in self._blobs())

    def _blobs(self) -> Iterator[Blob]:
        yield from (kept.blob for kept in self.kept if kept.blob)
        yield from (one.blob for one in self.published if one.blob)

    # ---- keeping -------------------------------------------------------------------------------------------------

    def keep(self, owner: str, tokens: list[int], slot: int) -> None:
        """The answer in ``slot`` has ended; what was kept of its own beginning is superseded."""
        if not owner or len(tokens) < LEAST:
            self.cells.wipe(slot)
            return
        ids = np.array(tokens, np.int32)
        mine = [kept for kept in self.kept if kept.owner == owner]
        self._discard(kept for kept in mine if common(kept.ids, ids) == len(kept.ids))
        self.kept.append(Kept(owner, ids, self.clock(), slot))

    def take_over(self, kept: Kept, found: Found) -> bool:
        """The idle slot of ``kept`` now belongs to the prompt that it was found for. Where only the smaller part is of
        use the whole is parked first, so that one branch of a conversation does not destroy the other.

        False where llama.cpp cannot leave so much: the slot is empty then.
        """
        slot, held, length = kept.slot, len(kept.ids), found.length
        copied = not found.most and self.park(kept)
        if not copied:
            self.kept.remove(kept)
            kept.ids[:] = 0
        if self.cells.truncate(slot, length, held):
            return True
        self.cells.wipe(slot)
        return False

    def park(self, kept: Kept, due: Found | None = None) -> bool:
        """Copies an idle slot's KV to host memory; False where there is no room. The slot itself is left as it is.
        What is ``due`` to be used next is not discarded for it, and if it will have served then it needs no room."""
        room = self._make_room(self.cells.size(kept.slot), kept.used, due)
        if not room or not (blob := self.cells.save(kept.slot)):
            return False
        kept.blob, kept.slot = blob, -1
        return True

    def vacate(self, slot: int, due: Found | None = None) -> None:
        """Makes an idle slot an empty one; what it holds is parked if there is room (see :meth:`park`)."""
        kept = self.idle(slot)
        if kept and self.park(kept, due):
            self.cells.wipe(slot)
        elif kept:
            self._discard([kept])

    def fill(self, slot: int, found: Found) -> bool:
        """Puts what was found in host memory into an empty slot; False where that did not work, and the slot is empty.
        A copy of which most is used has served."""
        source, held = found.source, len(found.source.ids)
        if source.blob is None:
            return False
        fits = self.cells.restore(slot, source.blob, held) and self.cells.truncate(slot, found.length, held)
        if not fits:
            self.cells.wipe(slot)
        if isinstance(source, Kept):
            source.used = self.clock()
            if not fits or found.most:
                self._discard([source])
        return fits

    def move(self, slot: int, to: int, tokens: int, most: int) -> bool:
        """Moves what runs in ``slot`` to another one that is not running; not if that is more than ``most`` bytes, and
        not if what is idle there would be lost. False where everything is as before."""
        if self.cells.size(slot) > most:
            return False
        if (kept := self.idle(to)) and not self.park(kept):
            return False
        self.cells.wipe(to)
        if (blob := self.cells.save(slot)) is None:
            return False
        moved = self.cells.restore(to, blob, tokens)
        blob.close()
        if moved:
            self.cells.wipe(slot)
        return moved

    # ---- publishing ----------------------------------------------------------------------------------------------

    def publish(self, prefixes: Iterable[Ids]) -> None:
        """The whole set of published prefixes, replacing the one before."""
        known = {one.ids.tobytes(): one for one in self.published}
        wanted = {ids.tobytes(): ids for ids in prefixes}
        self.published = [known.get(key) or Published(ids) for key, ids in wanted.items()]
        for gone in (one for key, one in known.items() if key not in wanted):
            if gone.blob:
                gone.blob.close()
                gone.blob = None
            gone.hopeless = True

    def next_unread(self) -> Published | None:
        return next((one for one in self.published if one.blob is None and not one.hopeless), None)

    def learn(self, one: Published, slot: int) -> None:
        """The prefix was read in ``slot``, which is empty afterwards."""
        if not one.hopeless and self._make_room(self.cells.size(slot), self.clock()):
            one.blob = self.cells.save(slot)
        one.hopeless = one.blob is None
        self.cells.wipe(slot)

    def vacate_all(self) -> None:
        """Makes every idle slot an empty one."""
        for slot in [kept.slot for kept in self.kept if kept.slot >= 0]:
            self.vacate(slot)

    # ---- forgetting ----------------------------------------------------------------------------------------------

    def forget(self, owner: str) -> None:
        """Discards all that is kept of this owner; of everybody where ``owner`` is empty."""
        self._discard([kept for kept in self.kept if owner in ("", kept.owner)])

    def expire(self) -> float | None:
        """Discards what was not used for long. Seconds until there is something to do again, if there is anything."""
        horizon = self.clock() - KEEP_SECONDS
        self._discard([kept for kept in self.kept if kept.used <= horizon])
        return min((kept.used - horizon for kept in self.kept), default=None)

    def _make_room(self, size: int, newer_than: float, due: Found | None = None) -> bool:
        """Discards parked states that are older, the oldest first, until ``size`` bytes fit."""
        parked = sorted((kept for kept in self.kept if kept.blob), key=lambda kept: kept.used)
        older = [kept for kept in parked if kept.used <= newer_than and not (due and due.source is kept)]
        served = due.source.blob if due and due.most and isinstance(due.source, Kept) else None
        over = self.host_bytes - (served.size if served else 0) + size - self.room
        if not size or over > sum(kept.blob.size for kept in older if kept.blob):
            return False
        for kept in older:
            if over <= 0:
                break
            over -= kept.blob.size if kept.blob else 0
            self._discard([kept])
        return True

    def _discard(self, unwanted: Iterable[Kept]) -> None:
        for kept in list(unwanted):
            self.kept.remove(kept)
            if kept.blob:
                kept.blob.close()
            if kept.slot >= 0:
                self.cells.wipe(kept.slot)
            kept.ids[:] = 0
