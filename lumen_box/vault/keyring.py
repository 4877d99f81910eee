"""The bytes of one copy of the keyring.

    "lumen-box keyring 1\\n"
    header      one line of strict JSON, then "\\n": vault, sequence, generation, slots; readable while sealed
    body        an envelope under the KEK, labelled "keyring", SHA-256 of all bytes before it, sequence, generation
    checksum    SHA-256 of all bytes before it (32 bytes)

The body's plaintext is, for each entry in order of purpose and id, the length-prefixed purpose, id, version (8 bytes)
and wrapped secret. The checksum tells damage from a wrong key; it protects against nobody. What protects is the
body's label, which binds the header, and each entry's own envelope, whose version is the keyring's sequence when the
entry was written: it never comes twice, so an entry cannot be moved or brought back.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import Damaged, NoSpace, TooNew
from ..sealed import derive, envelope, recipient
from ..sealed.encoding import fields, integer
from ..sealed.envelope import Label
from ..sealed.passphrase import Cost
from ..strictjson import MAX_INTEGER, Fields, dumps, loads
from .slots import KINDS, MAX_LABEL, MAX_SLOTS, SALT, Passphrase, Slot, SlotInfo

FAMILY = b"lumen-box keyring "
MAGIC = FAMILY + b"1\n"
CHECKSUM = 32
MAX_HEADER = 256 * 1024
MAX_BODY = 64 * 1024 * 1024
MAX_FILE = len(MAGIC) + MAX_HEADER + 1 + MAX_BODY + CHECKSUM
MAX_PURPOSE = 32
MAX_ID = 128
MAX_SECRET = 4 * 1024 * 1024  # the largest record is a list of revocations

Name = tuple[str, str]  # purpose, id


@dataclass(frozen=True)
class Header:
    vault: str
    sequence: int
    generation: int
    slots: tuple[Slot, ...]


@dataclass(frozen=True)
class Entry:
    purpose: str
    id: str
    version: int
    wrapped: bytes

    def label(self, generation: int) -> Label:
        return Label(self.purpose, self.id, self.version, generation)


@dataclass(frozen=True)
class Keyring:
    header: Header
    entries: Mapping[Name, Entry]


@dataclass(frozen=True)
class Stored:
    """A whole copy whose body has not been opened."""

    header: Header
    prefix: bytes
    body: bytes


def encode(keyring: Keyring, kek: bytes) -> bytes:
    """The bytes of a copy."""
    prefix = MAGIC + dumps(_header_json(keyring.header)) + b"\n"
    plain = b"".join(_entry_bytes(keyring.entries[name]) for name in sorted(keyring.entries))
    if len(plain) > MAX_BODY - envelope.OVERHEAD or len(prefix) > MAX_HEADER:
        raise NoSpace("The keyring is full.", kept="Nothing was changed.", then="Remove models or users first.")
    data = prefix + envelope.wrap(kek, plain, _body_label(keyring.header, prefix))
    return data + hashlib.sha256(data).digest()


def peek(data: bytes) -> Stored:
    """What can be known without a key; ``Damaged`` if these are not the bytes that were written."""
    if len(data) > MAX_FILE or not derive.same(hashlib.sha256(data[:-CHECKSUM]).digest(), data[-CHECKSUM:]):
        raise Damaged("The checksum of the keyring is wrong.")
    if not data.startswith(MAGIC):
        raise _unknown_format(data)
    end = data.find(b"\n", len(MAGIC), len(MAGIC) + MAX_HEADER) + 1
    if not end:
        raise Damaged("The header of the keyring does not end.")
    header = _header(loads(data[len(MAGIC) : end - 1], what="The keyring's header", max_bytes=MAX_HEADER))
    return Stored(header, data[:end], data[end:-CHECKSUM])


def open_body(stored: Stored, kek: bytes) -> Keyring:
    """The whole keyring, its entries still wrapped; ``Damaged`` if header and body are not what the vault wrote."""
    plain = envelope.unwrap(kek, stored.body, _body_label(stored.header, stored.prefix))
    entries = {(entry.purpose, entry.id): entry for entry in _entries(plain)}
    return Keyring(stored.header, entries)


def _unknown_format(data: bytes) -> Damaged | TooNew:
    if data.startswith(FAMILY):
        return TooNew("The keyring was written by a newer Lumen Box.", then="Start that version again.")
    return Damaged("The file is not a keyring.")


def _body_label(header: Header, prefix: bytes) -> Label:
    return Label("keyring", hashlib.sha256(prefix).hexdigest(), header.sequence, header.generation)


def _entry_bytes(entry: Entry) -> bytes:
    return fields(entry.purpose, entry.id, integer(entry.version), entry.wrapped)


def _entries(plain: bytes) -> Iterator[Entry]:
    """Only the vault itself can have written these bytes, yet each length is checked before it is believed."""
    place = 0
    while place < len(plain):
        parts = []
        for cap in (MAX_PURPOSE, MAX_ID, 8, MAX_SECRET + envelope.OVERHEAD):
            size = int.from_bytes(plain[place : place + 4], "big")
            part = plain[place + 4 : place + 4 + size]
            if size > cap or len(part) != size:
                raise Damaged("An entry of the keyring does not have a proper length.")
            parts.append(part)
            place += 4 + size
        purpose, name, version, wrapped = parts
        yield Entry(purpose.decode("ascii"), name.decode("ascii"), int.from_bytes(version, "big"), wrapped)


def _header_json(header: Header) -> dict[str, Any]:
    return {
        "generation": header.generation,
        "sequence": header.sequence,
        "slots": [_slot_json(slot) for slot in header.slots],
        "vault": header.vault,
    }


def _slot_json(slot: Slot) -> dict[str, Any]:
    value: dict[str, Any] = {
        "created": slot.info.created,
        "id": slot.info.id,
        "kind": slot.info.kind,
        "label": slot.info.label,
        "public": base64.b64encode(slot.public).decode(),
        "salt": slot.salt.hex(),
        "sealed": base64.b64encode(slot.sealed).decode(),
        "tag": slot.tag.hex(),
    }
    if slot.cost:
        value["cost"] = [slot.cost.iterations, slot.cost.memory_kib, slot.cost.lanes]
    return value


def _header(value: object) -> Header:
    fields_ = Fields(value, "The keyring's header")
    slots = fields_.take("slots", list)
    if not 1 <= len(slots) <= MAX_SLOTS:
        raise Damaged(f"The keyring has {len(slots)} slots.")
    header = Header(
        fields_.text("vault", pattern=r"[0-9a-f]{32}"),
        fields_.number("sequence", least=1),
        fields_.number("generation", least=1),
        tuple(_slot(slot) for slot in slots),
    )
    fields_.end()
    return header


def _slot(value: object) -> Slot:
    slot = Fields(value, "A slot of the keyring")
    kind = slot.one_of("kind", KINDS)
    info = SlotInfo(
        slot.text("id", pattern=r"[0-9a-f]{16}"),
        kind,
        slot.text("label", pattern=r"[ -~]+", longest=MAX_LABEL),
        slot.text("created", pattern=r"[0-9TZ:-]{20}"),
    )
    public = _bytes(slot, "public", recipient.PUBLIC_KEY)
    sealed = _bytes(slot, "sealed", envelope.KEY + recipient.OVERHEAD)
    salt = bytes.fromhex(slot.text("salt", pattern=f"[0-9a-f]{{{2 * SALT}}}"))
    tag = bytes.fromhex(slot.text("tag", pattern=f"[0-9a-f]{{{2 * derive.TAG}}}"))
    cost = _cost(slot.take("cost", list)) if kind == Passphrase.kind else None
    slot.end()
    return Slot(info, salt, cost, public, sealed, tag)


def _cost(numbers: list[object]) -> Cost:
    if len(numbers) != 3 or not all(type(number) is int and 0 < number < MAX_INTEGER for number in numbers):
        raise Damaged("The cost of a passphrase slot does not have the required form.")
    iterations, memory, lanes = (int(str(number)) for number in numbers)
    return Cost(iterations, memory, lanes)


def _bytes(slot: Fields, name: str, size: int) -> bytes:
    text = slot.text(name, longest=2 * size)
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != size:
        raise Damaged(f"The field {name!r} of a slot does not hold {size} bytes.")
    return raw
