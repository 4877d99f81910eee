"""Slots: each lets one secret open the vault.

A slot's secret gives a root key: Argon2id for a passphrase, HKDF for a key file or a recovery code, which are hard to
guess by themselves. The root gives a hybrid recipient key, to whose public half the KEK is sealed, and a tag key. So
a new KEK can be sealed to every slot without asking for every passphrase again, and somebody who knew the old KEK
learns nothing of the new one. The tag, whose key the vault keeps among its own entries, shows that it was the vault
that sealed the KEK: a public key alone would let anyone who can write to the disk put a keyring of their own there.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import ClassVar

from ..errors import Damaged, NotForThisBox, UsageError
from ..sealed import derive, passphrase
from ..sealed.encoding import fields, integer
from ..sealed.passphrase import Cost
from ..sealed.recipient import RecipientKey, RecipientPublic
from .recovery import read_code

MAX_SLOTS = 32
MAX_LABEL = 64
MIN_KEY_FILE = 32
MAX_KEY_FILE = 64 * 1024
SALT = passphrase.SALT


@dataclass(frozen=True)
class Passphrase:
    """Typed, or read from a file; the bytes are used as they are."""

    secret: bytes = field(repr=False)
    kind: ClassVar[str] = "passphrase"


@dataclass(frozen=True)
class KeyFile:
    """The content of a key file or of a systemd credential: 32 bytes to 64 KiB that nobody can guess."""

    secret: bytes = field(repr=False)
    kind: ClassVar[str] = "key-file"


@dataclass(frozen=True)
class Recovery:
    """The printed code."""

    code: str = field(repr=False)
    kind: ClassVar[str] = "recovery"


Unlock = Passphrase | KeyFile | Recovery
KINDS = (Passphrase.kind, KeyFile.kind, Recovery.kind)


@dataclass(frozen=True)
class SlotInfo:
    """What may be shown while the vault is sealed. ``created`` is RFC 3339."""

    id: str
    kind: str
    label: str
    created: str


@dataclass(frozen=True)
class Slot:
    """One slot as it is stored; ``sealed`` holds the KEK of one generation, ``tag`` vouches for all the rest."""

    info: SlotInfo
    salt: bytes
    cost: Cost | None  # for a passphrase alone
    public: bytes
    sealed: bytes = b""
    tag: bytes = b""


@dataclass(frozen=True)
class SlotKeys:
    """What a slot's secret gives."""

    recipient: RecipientKey = field(repr=False)
    tag: bytes = field(repr=False)


def new_slot(label: str, unlock: Unlock, created: str, cost: Cost) -> tuple[Slot, SlotKeys]:
    """A slot that holds no KEK yet. ``UsageError`` for a label or a secret that will not do."""
    if not 1 <= len(label) <= MAX_LABEL or not label.isascii() or not label.isprintable():
        raise UsageError(f"A slot's label has 1 to {MAX_LABEL} printable ASCII characters.")
    info = SlotInfo(secrets.token_hex(8), unlock.kind, label, created)
    bare = Slot(info, passphrase.new_salt(), cost if isinstance(unlock, Passphrase) else None, b"")
    keys = slot_keys(bare, unlock)
    return replace(bare, public=keys.recipient.public.raw), keys


def slot_keys(slot: Slot, unlock: Unlock) -> SlotKeys:
    """The slot's keys if ``unlock`` is its secret, and useless ones if it is another."""
    root = _root(slot, unlock)
    seed = derive.expand(root, "lumen-box/slot/recipient/v1")
    return SlotKeys(RecipientKey.from_seed(seed), derive.expand(root, "lumen-box/slot/tag/v1"))


def _root(slot: Slot, unlock: Unlock) -> bytes:
    match unlock:
        case Passphrase(secret):
            if not secret:
                raise UsageError("The passphrase is empty.", then="Choose one of several words.")
            if slot.cost is None:
                raise Damaged("A passphrase slot of the keyring lacks its cost.")
            return passphrase.derive(secret, slot.salt, slot.cost)
        case KeyFile(secret):
            if not MIN_KEY_FILE <= len(secret) <= MAX_KEY_FILE:
                raise UsageError(
                    f"A key file has {MIN_KEY_FILE} to {MAX_KEY_FILE} bytes; this one has {len(secret)}.",
                    then="Make one with: head -c 64 /dev/urandom > FILE",
                )
            return derive.extract(secret, slot.salt, "lumen-box/slot/key-file/v1")
        case Recovery(code):
            return derive.extract(read_code(code), slot.salt, "lumen-box/slot/recovery/v1")


def _sealing_info(vault: str, slot: Slot, generation: int) -> bytes:
    return fields("lumen-box/slot/kek/v1", vault, slot.info.id, integer(generation))


def _vouched(vault: str, slot: Slot, generation: int) -> bytes:
    """Everything of a slot that its tag covers."""
    info, cost = slot.info, slot.cost
    numbers = (cost.iterations, cost.memory_kib, cost.lanes) if cost else (0, 0, 0)
    return fields(
        *("lumen-box/slot/v1", vault, info.id, info.kind, info.label, info.created),
        *(slot.salt, *(integer(number) for number in numbers), slot.public, integer(generation), slot.sealed),
    )


def seal_kek(slot: Slot, kek: bytes, tag_key: bytes, vault: str, generation: int) -> Slot:
    """The slot with the KEK of ``generation`` in it; needs no secret of the slot's owner."""
    sealed = RecipientPublic.from_bytes(slot.public).seal(kek, _sealing_info(vault, slot, generation))
    filled = replace(slot, sealed=sealed)
    return replace(filled, tag=derive.tag(tag_key, _vouched(vault, filled, generation)))


def vouched_for(slot: Slot, tag_key: bytes, vault: str, generation: int) -> bool:
    """Whether the vault itself sealed what the slot holds."""
    return derive.same(slot.tag, derive.tag(tag_key, _vouched(vault, slot, generation)))


def open_kek(slot: Slot, unlock: Unlock, vault: str, generation: int) -> bytes | None:
    """The KEK, or None if ``unlock`` is not this slot's secret."""
    if slot.info.kind != unlock.kind:
        return None
    keys = slot_keys(slot, unlock)
    if not vouched_for(slot, keys.tag, vault, generation):
        return None
    try:
        return keys.recipient.open(slot.sealed, _sealing_info(vault, slot, generation))
    except NotForThisBox:
        raise Damaged(f"The slot {slot.info.id} of the keyring is damaged.") from None
