"""A new KEK for the same secrets: write new, prove that it opens everything, switch, destroy old.

This module makes the new keyring and proves it; ``store`` does the writing and the switching. No content key changes
and no object is rewritten.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..errors import Damaged
from ..sealed import derive, envelope
from .keyring import Entry, Keyring, Name
from .slots import Unlock, open_kek, seal_kek, vouched_for

SLOT = "slot"  # the purpose under which the vault keeps the slots' tag keys


def secrets_of(keyring: Keyring, kek: bytes) -> dict[Name, bytes]:
    """Every secret in the clear; ``Damaged`` if any cannot be opened."""
    generation = keyring.header.generation
    entries = keyring.entries.items()
    return {name: envelope.unwrap(kek, entry.wrapped, entry.label(generation)) for name, entry in entries}


def rekeyed(keyring: Keyring, kek: bytes, new_kek: bytes, sequence: int) -> Keyring:
    """The same slots and secrets, one generation later, under ``new_kek``."""
    header, secrets = keyring.header, secrets_of(keyring, kek)
    generation = header.generation + 1
    tags = {slot.info.id: secrets[SLOT, slot.info.id] for slot in header.slots}
    slots = tuple(seal_kek(slot, new_kek, tags[slot.info.id], header.vault, generation) for slot in header.slots)
    entries = {name: _rewrapped(entry, secrets[name], new_kek, generation) for name, entry in keyring.entries.items()}
    return Keyring(replace(header, sequence=sequence, generation=generation, slots=slots), entries)


def _rewrapped(entry: Entry, secret: bytes, kek: bytes, generation: int) -> Entry:
    return replace(entry, wrapped=envelope.wrap(kek, secret, entry.label(generation)))


def prove_slots(keyring: Keyring, kek: bytes, unlocks: Iterable[Unlock]) -> None:
    """``Damaged`` unless the vault vouches for every slot and each of ``unlocks`` opens one that holds ``kek``."""
    header = keyring.header
    for slot in header.slots:
        entry = keyring.entries[SLOT, slot.info.id]
        tag_key = envelope.unwrap(kek, entry.wrapped, entry.label(header.generation))
        if not vouched_for(slot, tag_key, header.vault, header.generation):
            raise _unproven()
    for unlock in unlocks:
        keys = (open_kek(slot, unlock, header.vault, header.generation) for slot in header.slots)
        if not any(key is not None and derive.same(key, kek) for key in keys):
            raise _unproven()


def prove_secrets(keyring: Keyring, kek: bytes, secrets: dict[Name, bytes]) -> None:
    """``Damaged`` unless the keyring gives exactly ``secrets``."""
    if secrets_of(keyring, kek) != secrets:
        raise _unproven()


def _unproven() -> Damaged:
    return Damaged("The new keyring does not open everything that it should.", kept="The old one stands.")
