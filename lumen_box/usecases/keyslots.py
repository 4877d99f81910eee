"""The slots of a box: what opens its vault, one more of it, one less.

A slot counts once the vault has proven that it opens the new keyring. Removing one also rotates the KEK, since what
was removed still opens old copies of the keyring; the last one stays. Which slots there are can be seen while the box
is sealed, so that whoever stands before it knows what to look for; only an open vault vouches for the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..audit import Event
from ..errors import NotFound
from ..sealed.passphrase import Cost
from ..vault.recovery import new_recovery_code
from ..vault.slots import Recovery, SlotInfo, Unlock
from ..vault.vault import Vault
from .box import Box


@dataclass(frozen=True)
class Added:
    """``recovery_code`` is there for a recovery slot alone, and only now."""

    slot: SlotInfo
    recovery_code: str | None = None


@dataclass(frozen=True)
class Removed:
    """The slot that is gone, and those that are left; the KEK is of ``generation`` now."""

    slot: SlotInfo
    left: Sequence[SlotInfo]
    generation: int


def listing(box: Box) -> list[SlotInfo]:
    """Every slot, also of a sealed box."""
    return Vault.slots_of(box.home.vault) if box.sealed else box.vault.slots


def add(box: Box, label: str, unlock: Unlock | None, actor: str, *, cost: Cost | None = None) -> Added:
    """One more slot; without ``unlock`` a recovery slot, whose code is made here.

    Raises ``Sealed``, ``Locked``, ``NoSpace``, and ``UsageError`` for a label or a secret that will not do.
    """
    key = unlock or Recovery(new_recovery_code())
    with box.administration():
        vault = box.vault
        with box.audit.act(Event.SLOT_ADDED, actor, kind=key.kind, label=label[:100]) as learned:
            with box.rewriting(actor):
                slot = vault.add_slot(label, key, cost=cost)
            learned["slot"] = slot.id
    return Added(slot, key.code if unlock is None and isinstance(key, Recovery) else None)


def remove(box: Box, id: str, actor: str) -> Removed:
    """One slot less, and a new KEK. Raises ``NotFound``, and ``UsageError`` for the last one."""
    with box.administration():
        vault = box.vault
        with box.audit.act(Event.SLOT_REMOVED, actor, slot=id[:100]) as learned:
            slot = _one(vault.slots, id)
            learned |= {"kind": slot.kind, "label": slot.label}
            with box.rewriting(actor):
                vault.remove_slot(id)
            header = vault.header
            learned["generation"] = header.generation
    return Removed(slot, [left.info for left in header.slots], header.generation)


def _one(slots: Sequence[SlotInfo], id: str) -> SlotInfo:
    for slot in slots:
        if slot.id == id:
            return slot
    raise NotFound(f"The vault has no slot {id[:40]!r}.", then="`lumen-box key slot list` shows which there are.")
