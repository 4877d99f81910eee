"""Envelopes, derived keys and passphrases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lumen_box.errors import Damaged
from lumen_box.sealed import derive, encoding, envelope, passphrase
from lumen_box.sealed.envelope import Label
from lumen_box.sealed.passphrase import Cost
from tests.support import vectors
from tests.vectors.make import hkdf, hkdf_expand

KEY, SECRET = bytes(range(32)), b"secret"
LABEL = Label("content", "00ff", 3, 2)


def test_vectors() -> None:
    given = vectors.load("envelope")
    key = bytes.fromhex(given["key"])
    for case in given["cases"]:
        label = Label(**case["label"])
        assert label.associated_data().hex() == case["aad"]
        assert envelope.unwrap(key, bytes.fromhex(case["wrapped"]), label).hex() == given["secret"]


def test_a_wrapped_secret_opens_and_never_looks_the_same_twice() -> None:
    wrapped = envelope.wrap(KEY, SECRET, LABEL)
    assert envelope.unwrap(KEY, wrapped, LABEL) == SECRET
    assert SECRET not in wrapped and wrapped != envelope.wrap(KEY, SECRET, LABEL)
    assert envelope.new_key() != envelope.new_key()


@pytest.mark.parametrize(
    "label",
    [
        replace(LABEL, purpose="audit"),
        replace(LABEL, id="00fe"),
        replace(LABEL, version=2),
        replace(LABEL, generation=1),
        replace(LABEL, purpose="content0", id="0ff"),
        replace(LABEL, version=2, generation=3),
    ],
)
def test_it_cannot_be_moved_or_brought_back(label: Label) -> None:
    with pytest.raises(Damaged, match=f"{label.purpose}/{label.id}"):
        envelope.unwrap(KEY, envelope.wrap(KEY, SECRET, LABEL), label)


@pytest.mark.parametrize("size", [0, 1, 12, 27, 33])
def test_a_cut_envelope_is_damaged(size: int) -> None:
    with pytest.raises(Damaged):
        envelope.unwrap(KEY, envelope.wrap(KEY, SECRET, LABEL)[:size], LABEL)


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(Damaged):
        envelope.unwrap(bytes(32), envelope.wrap(KEY, SECRET, LABEL), LABEL)


def test_fields_do_not_lend_bytes_to_each_other() -> None:
    seen = {
        encoding.fields(*parts) for parts in ((), ("",), ("", ""), ("ab",), ("a", "b"), ("", "ab"), (b"\0\0\0\1a",))
    }
    assert len(seen) == 7


def test_derived_keys_follow_the_standard_and_their_labels() -> None:
    assert derive.expand(KEY, "one") == hkdf_expand(KEY, b"one", 32) != derive.expand(KEY, "two")
    assert derive.extract(b"secret", b"salt", "one") == hkdf(b"secret", b"salt", b"one")
    assert derive.extract(b"secret", b"salt", "one") != derive.extract(b"secret", b"tlas", "one")
    assert derive.same(derive.tag(KEY, b"x"), derive.tag(KEY, b"x"))
    assert not derive.same(derive.tag(KEY, b"x"), derive.tag(KEY, b"y"))


def test_passphrase_vectors() -> None:
    given = vectors.load("passphrase")
    salt = bytes.fromhex(given["salt"])
    for case in given["cases"]:
        assert passphrase.derive(bytes.fromhex(case["passphrase"]), salt, Cost(*case["cost"])).hex() == case["key"]
    assert Cost() == Cost(iterations=3, memory_kib=65536, lanes=4)


@pytest.mark.parametrize(
    "cost",
    [(0, 64, 1), (65, 64, 1), (1, 7, 1), (1, 64, 0), (1, 64, 9), (1, 2**22 + 1, 1), (1, 2**32, 65), (-1, 64, 1)],
)
def test_costs_beyond_the_caps_are_refused_before_memory_is_taken(cost: tuple[int, int, int]) -> None:
    with pytest.raises(Damaged):
        Cost(*cost)
