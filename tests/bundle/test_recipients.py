"""Content keys reach the box they were sealed to, for the object they were sealed for, and nothing else passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lumen_box.bundle.manifest import Manifest
from lumen_box.bundle.medium import Medium
from lumen_box.bundle.recipients import open_content_key, seal_content_key
from lumen_box.errors import Damaged, LumenError, NotForThisBox, TooNew
from lumen_box.sealed.recipient import RecipientKey

from .sticks import BOXES, PUBLISHER, Stick

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "bundle.json").read_text())


def opened(stick: Stick, box: int = 0) -> bytes:
    """The first object's key, as box number ``box`` gets it."""
    item, key = stick.objects[0], stick.boxes[box]
    with Medium.open(stick.where) as medium:
        _, first = next(medium.segments(PUBLISHER, item.stored))
        data = medium.recipient(PUBLISHER, item.stored.id, key.public.key_id)
        return open_content_key(data, item.stored, BOXES[box], key, first)


def test_the_vector_opens() -> None:
    stored = Manifest.parse(VECTORS["manifest"]["bytes"].encode()).model
    key = RecipientKey.from_seed(bytes.fromhex(VECTORS["enrolment"]["recipient_seed"]))
    part, file = bytes.fromhex(VECTORS["manifest"]["part-0001"]), VECTORS["recipient"]["file"].encode()
    content_key = open_content_key(file, stored, VECTORS["enrolment"]["box_id"], key, part)
    assert content_key.hex() == VECTORS["recipient"]["content_key"]
    assert key.public.key_id == VECTORS["recipient"]["name"]


@pytest.mark.parametrize("box", [0, 1])
def test_each_box_opens_its_own(stick: Stick, box: int) -> None:
    assert opened(stick, box) == stick.objects[0].key


def swap(stick: Stick, one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def between_objects(stick: Stick) -> None:
    swap(stick, stick.recipient(0, 0), stick.recipient(0, 1))


def between_boxes(stick: Stick) -> None:
    swap(stick, stick.recipient(0), stick.recipient(1))


def sealed_for_another_box(stick: Stick) -> None:
    """To the right key, by somebody who gives another box's id."""
    item = stick.objects[0]
    stick.recipient(0).write_bytes(seal_content_key(item.key, item.stored.id, BOXES[1], stick.boxes[0].public))


def another_key_by_a_stranger(stick: Stick) -> None:
    item = stick.objects[0]
    stick.recipient(0).write_bytes(seal_content_key(bytes(32), item.stored.id, BOXES[0], stick.boxes[0].public))


def changed(change: Callable[[dict[str, object]], object]) -> Callable[[Stick], None]:
    def apply(stick: Stick) -> None:
        value = json.loads(stick.recipient(0).read_bytes())
        change(value)
        stick.recipient(0).write_bytes(json.dumps(value).encode())

    return apply


def flip(value: dict[str, object]) -> None:
    sealed = bytearray.fromhex(str(value["sealed"]))
    sealed[-1] ^= 1
    value["sealed"] = sealed.hex()


BAD: list[tuple[str, Callable[[Stick], object], type[LumenError]]] = [
    ("swapped between objects", between_objects, NotForThisBox),
    ("swapped between boxes", between_boxes, NotForThisBox),
    ("sealed for another box's id", sealed_for_another_box, NotForThisBox),
    ("missing", lambda stick: stick.recipient(0).unlink(), NotForThisBox),
    ("one bit flipped", changed(flip), NotForThisBox),
    ("a key that does not fit", another_key_by_a_stranger, Damaged),
    ("unknown format", changed(lambda value: value.__setitem__("format", 2)), TooNew),
    ("unknown suite", changed(lambda value: value.__setitem__("suite", "rot13")), TooNew),
    ("unknown member", changed(lambda value: value.__setitem__("x", 1)), TooNew),
    ("cut short", changed(lambda value: value.__setitem__("sealed", str(value["sealed"])[:-2])), Damaged),
    ("empty", lambda stick: stick.recipient(0).write_bytes(b""), Damaged),
    ("too large", lambda stick: stick.recipient(0).write_bytes(b" " * 8193), Damaged),
]


@pytest.mark.parametrize(("change", "error"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_recipient_files(stick: Stick, change: Callable[[Stick], object], error: type[LumenError]) -> None:
    change(stick)
    with pytest.raises(error) as caught:
        opened(stick)
    assert type(caught.value) is error


def test_a_box_that_was_not_enrolled_is_told_so(stick: Stick) -> None:
    with Medium.open(stick.where) as medium:
        assert medium.recipient(PUBLISHER, stick.objects[0].stored.id, RecipientKey.generate().public.key_id) is None
    with pytest.raises(NotForThisBox, match="no key for this box"):
        open_content_key(None, stick.objects[0].stored, BOXES[0], RecipientKey.generate(), b"")
