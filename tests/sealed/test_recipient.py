"""Content keys for one box: only that box, only for that object."""

from __future__ import annotations

import pytest

from lumen_box.errors import Damaged, NotForThisBox
from lumen_box.sealed.recipient import OVERHEAD, PUBLIC_KEY, SUITE, RecipientKey, RecipientPublic, recipient_info
from tests.support import vectors

KEY, OTHER = RecipientKey.from_seed(bytes(32)), RecipientKey.from_seed(bytes(31) + b"\1")
SECRET = b"s" * 32


def info(
    key: RecipientPublic = KEY.public, object_id: bytes = b"o" * 16, box: str = "box", suite: str = SUITE
) -> bytes:
    return recipient_info(suite, object_id, box, key.raw)


def test_vectors() -> None:
    vector = vectors.load("recipient")
    key = RecipientKey.from_seed(bytes.fromhex(vector["seed"]))
    assert key.public.raw.hex() == vector["public"] and key.public.key_id == vector["key_id"]
    bound = recipient_info(SUITE, bytes.fromhex(vector["object_id"]), vector["box_id"], key.public.raw)
    assert bound.hex() == vector["info"]
    assert key.open(bytes.fromhex(vector["sealed"]), bound).hex() == vector["secret"]


def test_only_the_recipient_opens_it() -> None:
    sealed = KEY.public.seal(SECRET, info())
    assert len(sealed) == len(SECRET) + OVERHEAD and SECRET not in sealed
    assert KEY.open(sealed, info()) == SECRET
    assert sealed != KEY.public.seal(SECRET, info())
    with pytest.raises(NotForThisBox):
        OTHER.open(sealed, info())


@pytest.mark.parametrize(
    "bound",
    [
        info(object_id=b"p" * 16),
        info(box="bax"),
        info(suite=SUITE + "2"),
        info(OTHER.public),
        b"",
        recipient_info(SUITE, b"o" * 15, "obox", KEY.public.raw),
    ],
    ids=["object", "box", "suite", "key", "nothing", "a byte moved to its neighbour"],
)
def test_it_answers_for_one_object_box_suite_and_key(bound: bytes) -> None:
    with pytest.raises(NotForThisBox):
        KEY.open(KEY.public.seal(SECRET, info()), bound)


@pytest.mark.parametrize("size", [0, 1, 1119, 1120, 1135, 1136, 1167, 1169, 10_000])
def test_other_lengths(size: int) -> None:
    sealed = KEY.public.seal(SECRET, info())
    with pytest.raises(NotForThisBox):
        KEY.open((sealed * 10)[:size], info())


@pytest.mark.parametrize("place", [0, 1087, 1088, 1119, 1120, 1167])
def test_every_part_is_covered(place: int) -> None:
    sealed = bytearray(KEY.public.seal(SECRET, info()))
    sealed[place] ^= 1
    with pytest.raises(NotForThisBox):
        KEY.open(bytes(sealed), info())


@pytest.mark.parametrize(
    "raw",
    [b"", KEY.public.raw[:-1], KEY.public.raw + b"\0", b"\xff" * PUBLIC_KEY],
    ids=["empty", "short", "long", "coefficients too large"],
)
def test_what_is_no_key(raw: bytes) -> None:
    with pytest.raises(Damaged):
        RecipientPublic.from_bytes(raw)


def test_a_point_of_small_order_gets_nothing_sealed() -> None:
    with pytest.raises(Damaged):
        RecipientPublic.from_bytes(KEY.public.raw[:-32] + bytes(32)).seal(SECRET, b"")


def test_keys_come_back_from_their_bytes() -> None:
    key = RecipientKey.generate()
    assert key.seed != RecipientKey.generate().seed
    public = RecipientPublic.from_bytes(key.public.raw)
    assert public == key.public and public.key_id == key.public.key_id != KEY.public.key_id
    assert RecipientKey.from_seed(key.seed).open(public.seal(b"", b""), b"") == b""
    assert key.seed.hex() not in repr(key)
    with pytest.raises(Damaged):
        RecipientKey.from_seed(bytes(33))
    with pytest.raises(ValueError, match="1024"):
        public.seal(bytes(1025), b"")
