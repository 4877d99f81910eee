"""Fingerprints: what is read aloud and typed is the same 256 bits, and a slip is named."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumen_box.errors import UsageError
from lumen_box.sealed.fingerprint import Fingerprint
from lumen_box.sealed.words import EVEN, ODD
from tests.support import vectors

FINGERPRINT = Fingerprint.of("test", b"one")
WORDS = FINGERPRINT.words.split()


def test_vectors() -> None:
    given_ = vectors.load("fingerprint")
    for case in given_["cases"]:
        parts = [bytes.fromhex(part) for part in case["parts"]]
        assert Fingerprint.of(case["label"], *parts).hex == case["hex"]
    for case in given_["spoken"]:
        assert Fingerprint(bytes.fromhex(case["hex"])).words == case["words"]


def test_the_word_lists_never_change() -> None:
    assert vectors.load("words") == {"even": list(EVEN), "odd": list(ODD)}


def distance(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for place, letter in enumerate(one, 1):
        above, row[0] = row[0], place
        for at, second in enumerate(other, 1):
            above, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, above + (letter != second))
    return row[-1]


def test_no_word_can_be_mistaken_for_another() -> None:
    assert len(EVEN) == len(ODD) == 256
    assert all(word.isascii() and word.isalpha() and word.islower() for word in EVEN + ODD)
    assert {len(word) for word in EVEN} == {4, 5} and {len(word) for word in ODD} == {6, 7, 8, 9}
    for words in (EVEN, ODD):
        assert min(distance(one, other) for one, other in itertools.combinations(words, 2)) >= 2


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_every_fingerprint_comes_back_from_its_words_and_its_hex(raw: bytes) -> None:
    fingerprint = Fingerprint(raw)
    assert Fingerprint.parse(fingerprint.words) == Fingerprint.parse(fingerprint.hex) == fingerprint
    assert str(fingerprint) == raw.hex() and len(fingerprint.words.split()) == 32


@pytest.mark.parametrize(
    "text",
    [
        FINGERPRINT.words.upper(),
        FINGERPRINT.words.replace(" ", "-"),
        "  " + FINGERPRINT.words.replace(" ", "\n  ") + "\n",
        ", ".join(WORDS),
        FINGERPRINT.hex.upper(),
        ":".join(FINGERPRINT.hex[at : at + 2] for at in range(0, 64, 2)),
        " ".join(FINGERPRINT.hex[at : at + 8] for at in range(0, 64, 8)),
    ],
)
def test_the_way_it_is_typed_does_not_matter(text: str) -> None:
    assert Fingerprint.parse(text) == FINGERPRINT


def swapped(at: int) -> list[str]:
    return [*WORDS[:at], WORDS[at + 1], WORDS[at], *WORDS[at + 2 :]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" ".join(swapped(4)), "Word 5"),
        (" ".join(WORDS[:7] + WORDS[8:]), "Word 8"),
        (" ".join(WORDS[:3] + WORDS[2:]), "Word 4"),
        (" ".join([*WORDS[:31], "lumen"]), "Word 32.*'lumen'"),
        (" ".join([WORDS[0], WORDS[1][:-1], *WORDS[2:]]), "Word 2"),
        (" ".join(WORDS[:30]), "30 words"),
        (" ".join(WORDS + WORDS[:2]), "34 words"),
        (WORDS[0], "1 words"),
        (FINGERPRINT.hex[:16], "16 hexadecimal"),
        (FINGERPRINT.hex + "0", "65 hexadecimal"),
        ("", "not in the list"),
        ("x" * 10_000, "not in the list"),
    ],
)
def test_a_slip_is_named(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        Fingerprint.parse(text)
    assert len(str(caught.value)) < 300


def test_only_32_bytes_are_a_fingerprint() -> None:
    with pytest.raises(ValueError, match="32"):
        Fingerprint(bytes(31))
