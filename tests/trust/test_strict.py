"""Bytes that are not the strict form: refused before TUF, which would take many of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tuf.api.metadata import Metadata

from lumen_box.errors import Damaged, LumenError, TooNew
from lumen_box.trust.layout import ROLES
from lumen_box.trust.limits import MAX_BYTES, MAX_VERSION
from lumen_box.trust.verify import checked

from .conftest import World
from .simulator import Edit, Medium, sealed


def bytes_edit(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def edit(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new, 1)

    return edit


# What is done to the bytes of a file. Every signature still holds afterwards where the file can be read at all.
BYTES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "a number": lambda data: b"7",
    "a list": lambda data: b"[" + data + b"]",
    "null": lambda data: b"null",
    "two values": lambda data: data + data,
    "a byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "UTF-16": lambda data: data.decode().encode("utf-16-le"),
    "UTF-16 with a mark": lambda data: data.decode().encode("utf-16"),
    "UTF-32": lambda data: data.decode().encode("utf-32-be"),
    "a zero byte at the end": lambda data: data + b"\0",
    "not ASCII": bytes_edit(b'"signed"', '"sïgned"'.encode()),
    "nested too deep": bytes_edit(b'"signed"', b'"deep": ' + b"[" * 40 + b"]" * 40 + b', "signed"'),
    "nested deeper than Python can": bytes_edit(
        b'"signed"', b'"deep": ' + b"[" * 20_000 + b"]" * 20_000 + b', "signed"'
    ),
    "a duplicate key": bytes_edit(b'"signed"', b'"signed": {}, "signed"'),
    "a duplicate key within": bytes_edit(b'"version"', b'"version": 1, "version"'),
    "a duplicate key in another spelling": bytes_edit(b'"version"', b'"\\u0076ersion": 1, "version"'),
    "a float": bytes_edit(b'"version"', b'"x": 1.0, "version"'),
    "an exponent": bytes_edit(b'"version"', b'"x": 1e3, "version"'),
    "not a number": bytes_edit(b'"version"', b'"x": NaN, "version"'),
    "infinity": bytes_edit(b'"version"', b'"x": -Infinity, "version"'),
    "a huge integer": bytes_edit(b'"version"', b'"x": ' + b"9" * 400 + b', "version"'),
    "an integer of a megabyte": bytes_edit(b'"version"', b'"x": ' + b"9" * 100_000 + b', "version"'),
    "2^53": bytes_edit(b'"version"', b'"x": 9007199254740992, "version"'),
    "a trailing comma": bytes_edit(b"}", b",}"),
    "a comment": bytes_edit(b"{", b"{/* */"),
}
TUF_TAKES = ["a duplicate key", "a duplicate key within", "a float", "not a number", "a huge integer", "2^53"]


def spoiled(world: World, role: str, edit: Callable[[bytes], bytes]) -> Medium:
    medium = world.medium if role != "root" else world.publisher.next_root(world.medium)
    return world.publisher.replaced(medium, role, edit(medium.file(role)))


@pytest.mark.parametrize("role", ["root", "timestamp", "models"])
@pytest.mark.parametrize("what", BYTES)
def test_bytes(world: World, role: str, what: str) -> None:
    with pytest.raises(Damaged) as caught:
        world.box().read(spoiled(world, role, BYTES[what]))
    assert role in str(caught.value)


@pytest.mark.parametrize("what", TUF_TAKES)
def test_tuf_would_have_taken_it(world: World, what: str) -> None:
    """So that the tests above do not pass for TUF's sake."""
    data = world.medium.file("models")
    Metadata.from_bytes(BYTES[what](data)).to_dict()


@pytest.mark.parametrize("role", ROLES)
def test_a_file_beyond_its_cap_is_refused_unread(world: World, role: str) -> None:
    with pytest.raises(Damaged, match=f"larger than the {MAX_BYTES[role]} bytes|not between 1 and {MAX_BYTES[role]}"):
        world.box().read(spoiled(world, role, lambda data: data + b" " * MAX_BYTES[role]))


def put(*path: object, value: object) -> Edit:
    """Set a member somewhere in the signed part; ``/`` stands for the first key there."""

    def edit(signed: dict[str, Any]) -> None:
        place: Any = signed
        for step in path[:-1]:
            place = place[next(iter(place)) if step == "/" else step]
        place[path[-1]] = value

    return edit


def drop(name: str) -> Edit:
    return lambda signed: signed.pop(name)


COMMON: dict[str, tuple[Edit, type[LumenError]]] = {
    "version 0": (put("version", value=0), Damaged),
    "version -1": (put("version", value=-1), Damaged),
    "version 2^31": (put("version", value=MAX_VERSION + 1), Damaged),
    "version 2^32-1": (put("version", value=2**32 - 1), Damaged),
    "version 2^63": (put("version", value=2**63), Damaged),
    "version true": (put("version", value=True), Damaged),
    "version in text": (put("version", value="1"), Damaged),
    "version null": (put("version", value=None), Damaged),
    "no version": (drop("version"), Damaged),
    "no expiry": (drop("expires"), Damaged),
    "expiry is a number": (put("expires", value=1999999999), Damaged),
    "expiry in another spelling": (put("expires", value="2030-1-1T00:00:00Z"), Damaged),
    "expiry with fractions": (put("expires", value="2030-01-01T00:00:00.5Z"), Damaged),
    "expiry with an offset": (put("expires", value="2030-01-01T00:00:00+01:00"), Damaged),
    "expiry on a day that is not": (put("expires", value="2030-02-30T00:00:00Z"), Damaged),
    "expiry in the year 0": (put("expires", value="0000-01-01T00:00:00Z"), Damaged),
    "expiry in other digits": (put("expires", value="２０30-01-01T00:00:00Z"), Damaged),
    "another type": (put("_type", value="mirrors"), Damaged),
    "another role's type": (
        lambda signed: signed.update(_type="root" if signed["_type"] != "root" else "targets"),
        Damaged,
    ),
    "type is a list": (put("_type", value=["root"]), Damaged),
    "another specification": (put("spec_version", value="2.0.0"), TooNew),
    "no specification": (put("spec_version", value=""), Damaged),
    "one more field": (put("x", value=1), TooNew),
}
META: dict[str, tuple[Edit, type[LumenError]]] = {
    "entry's version 0": (put("meta", "/", "version", value=0), Damaged),
    "entry's version 2^32-1": (put("meta", "/", "version", value=2**32 - 1), Damaged),
    "length 0": (put("meta", "/", "length", value=0), Damaged),
    "length -1": (put("meta", "/", "length", value=-1), Damaged),
    "length 2^32-1": (put("meta", "/", "length", value=2**32 - 1), Damaged),
    "length 2^63": (put("meta", "/", "length", value=2**63), Damaged),
    "another length": (put("meta", "/", "length", value=1), Damaged),
    "another hash": (put("meta", "/", "hashes", "sha256", value="0" * 64), Damaged),
    "an unknown hash": (put("meta", "/", "hashes", value={"sha1": "0" * 40}), Damaged),
    "one more hash": (put("meta", "/", "hashes", "md5", value="0" * 32), TooNew),
    "no hash": (put("meta", "/", "hashes", value={}), Damaged),
    "a hash in upper case": (put("meta", "/", "hashes", "sha256", value="A" * 64), Damaged),
    "an entry more": (put("meta", "mirrors.json", value={}), TooNew),
    "no entry": (put("meta", value={}), Damaged),
    "meta is a list": (put("meta", value=[]), Damaged),
    "an entry is null": (lambda signed: signed["meta"].update({next(iter(signed["meta"])): None}), Damaged),
}
TARGETS: dict[str, tuple[Edit, type[LumenError]]] = {
    "length 0": (put("targets", "/", "length", value=0), Damaged),
    "length 2^32-1": (put("targets", "/", "length", value=2**32 - 1), Damaged),
    "length 2^63": (put("targets", "/", "length", value=2**63), Damaged),
    "length true": (put("targets", "/", "length", value=True), Damaged),
    "no hash": (put("targets", "/", "hashes", value={}), Damaged),
    "a short hash": (put("targets", "/", "hashes", value={"sha256": "00"}), Damaged),
    "custom data": (put("targets", "/", "custom", value={"x": 1}), TooNew),
    "a target is a list": (lambda signed: signed["targets"].update({next(iter(signed["targets"])): []}), Damaged),
    "targets is a list": (put("targets", value=[]), Damaged),
    "no targets": (drop("targets"), Damaged),
}
ROOT: dict[str, tuple[Edit, type[LumenError]]] = {
    "snapshots that need not agree": (put("consistent_snapshot", value=False), Damaged),
    "snapshots 1": (put("consistent_snapshot", value=1), Damaged),
    "a fifth role": (put("roles", "mirrors", value={"keyids": [], "threshold": 1}), TooNew),
    "no timestamp role": (lambda signed: signed["roles"].pop("timestamp"), Damaged),
    "no publisher": (drop("publisher"), Damaged),
    "a publisher without a name": (put("publisher", value=""), Damaged),
    "a publisher with a line break": (put("publisher", value="a\nb"), Damaged),
    "a publisher with NUL": (put("publisher", value="a\0"), Damaged),
    "a publisher written backwards": (put("publisher", value="a\u202eb"), Damaged),
    "a publisher with half a character": (put("publisher", value="\ud800"), Damaged),
    "a publisher with a very long name": (put("publisher", value="x" * 129), Damaged),
    "no publisher id": (drop("publisher_id"), Damaged),
    "a publisher id in upper case": (put("publisher_id", value="A" * 64), Damaged),
}
TIMESTAMP: dict[str, tuple[Edit, type[LumenError]]] = {
    "not said when it was signed": (drop("signed_at"), Damaged),
    "signed at no time": (put("signed_at", value="yesterday"), Damaged),
}
ONLY_SEEN_TOGETHER = ["another length", "another hash"]
FIELDS = [(role, what, *case) for role in ROLES for what, case in COMMON.items()]
FIELDS += [(role, what, *case) for role in ("timestamp", "snapshot") for what, case in META.items()]
FIELDS += [(role, what, *case) for role in ("targets", "models", "software") for what, case in TARGETS.items()]
FIELDS += [("root", what, *case) for what, case in ROOT.items()]
FIELDS += [("timestamp", what, *case) for what, case in TIMESTAMP.items()]


@pytest.mark.parametrize(
    ("role", "what", "edit", "expected"), FIELDS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_fields(world: World, role: str, what: str, edit: Edit, expected: type[LumenError]) -> None:
    """Each is signed as it should be, so that only the field is wrong; and it is our check that refuses, not TUF's."""
    medium = world.medium if role != "root" else world.publisher.next_root(world.medium)
    signed = medium.signed(role)
    edit(signed)
    try:
        data = sealed(signed, world.publisher.keys[role])
    except UnicodeEncodeError:  # half a character cannot even be signed
        data = json.dumps({"signatures": [], "signed": signed}).encode()
    with pytest.raises(expected) as caught:
        world.box().read(world.publisher.replaced(medium, role, data))
    assert type(caught.value) is expected
    if what not in ONLY_SEEN_TOGETHER:
        with pytest.raises(expected):
            checked(role, data)


def test_a_file_under_the_name_of_another_version(world: World) -> None:
    medium = world.publisher.replaced(world.medium, "models", world.medium.file("models"), name="77.models.json")
    with pytest.raises(Damaged, match="under the name of version 77"):
        world.box().read(medium)
