"""The printed recovery code: typed as people type, and a slip told from a wrong code."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumen_box.errors import WrongKey
from lumen_box.vault.recovery import new_recovery_code, read_code, write_code
from tests.support import vectors

CODE = write_code(bytes(range(100, 125)))


def test_vectors() -> None:
    for case in vectors.load("recovery")["cases"]:
        assert write_code(bytes.fromhex(case["secret"])) == case["code"]
        assert read_code(case["code"]).hex() == case["secret"]


def test_a_new_code_is_new_and_printable() -> None:
    code = new_recovery_code()
    assert re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){10}[0-9A-HJKMNP-TV-Z]{4}", code)
    assert code != new_recovery_code() and len(read_code(code)) == 25


@settings(deadline=None)
@given(st.binary(min_size=25, max_size=25))
def test_every_code_reads_as_it_was_written(secret: bytes) -> None:
    code = write_code(secret)
    assert read_code(code) == read_code(code.lower().replace("-", " ").replace("0", "o").replace("1", "l")) == secret


@pytest.mark.parametrize("place", range(len(CODE)))
def test_one_wrong_letter_anywhere_is_noticed(place: int) -> None:
    if CODE[place] == "-":
        return
    wrong = "7" if CODE[place] != "7" else "8"
    with pytest.raises(WrongKey, match="last group"):
        read_code(CODE[:place] + wrong + CODE[place + 1 :])


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("", "0 characters"),
        (CODE[:-1], "43 characters"),
        (CODE + "-0000", "48 characters"),
        (CODE[:4] + "-" + CODE[10:14] + "-" + CODE[5:9] + CODE[14:], "last group"),
        ("?" + CODE[1:], "'\\?'"),
        ("U" + CODE[1:], "'U'"),
        ("ß" + CODE[1:], "character"),
    ],
)
def test_what_is_wrong_is_said(code: str, said: str) -> None:
    with pytest.raises(WrongKey, match=said):
        read_code(code)
