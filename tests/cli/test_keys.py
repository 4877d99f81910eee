"""`lumen-box key …` as its users run it: with a gateway and without one, sealed, and by mistake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Shell, passphrase_file

SECRET = b"a box's passphrase"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(
        tmp_path,
        {
            "LUMEN_BOX_HOME": str(tmp_path / "box"),
            "LUMEN_BOX_PASSPHRASE_FILE": passphrase_file(tmp_path / "q", SECRET),
        },
    )
    yield shell
    shell("stop", code=None)


def test_the_kek_is_rotated_without_a_gateway_and_through_one(shell: Shell) -> None:
    recovery = shell("init", "--json").json["recovery_key"]
    fingerprint = shell("enrolment", "export", "--output", "box.json", "--json").json["fingerprint"]
    listed = shell("key", "list").out
    assert listed.startswith("key-encryption key (KEK), generation 1, made 2")
    assert f"  fingerprint {fingerprint}\n" in listed
    rotated = shell("key", "rotate", "kek")
    assert rotated.out == "The key-encryption key is new: generation 2.\n"
    assert "2 slots open it as before" in rotated.err

    shell("serve", "--port", "0", "--detach")
    assert shell("key", "rotate", "kek", "--json").json == {"kind": "kek", "generation": 3, "secrets": 3, "slots": 2}
    (kek, *others) = shell("key", "list", "--json").json["keys"]
    assert (kek["purpose"], kek["generation"]) == ("kek", 3)
    assert {key["purpose"] for key in others} == {"identity", "audit", "recipient"}
    assert max(map(len, shell("key", "list", COLUMNS="80").out.splitlines())) <= 80

    shell("lock")
    for words in (["key", "list"], ["key", "rotate", "kek"]):
        refused = shell(*words, code=12)
        assert refused.out == "" and "lumen-box unlock" in refused.err
    shell("unlock", "--recovery", "--passphrase-file", passphrase_file(shell.folder / "r", recovery.encode()))
    assert shell("key", "list", "--json").json["keys"][0]["generation"] == 3


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["key", "rotate"], 2, "Missing argument 'KIND'."),
        (["key", "rotate", "everything"], 2, "'everything' is not one of 'kek'"),
        (["key", "rotate", "kek"], 10, "There is no box in"),
        (["key", "list"], 10, "There is no box in"),
    ],
)
def test_a_mistake_is_named(shell: Shell, words: list[str], code: int, says: str) -> None:
    refused = shell(*words, code=code)
    assert refused.out == "" and says in refused.err, refused.err


def test_a_wrong_passphrase_rotates_nothing(shell: Shell, tmp_path: Path) -> None:
    shell("init")
    wrong = passphrase_file(tmp_path / "wrong", b"another passphrase")
    assert shell("key", "rotate", "kek", "--passphrase-file", wrong, code=12).out == ""
    assert "no terminal to ask on" in shell("key", "rotate", "kek", LUMEN_BOX_PASSPHRASE_FILE="", code=12).err
    assert shell("key", "list", "--json").json["keys"][0]["generation"] == 1
