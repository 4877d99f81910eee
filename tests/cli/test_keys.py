"""`lumen-box key …` as its users run it: with a gateway and without one, sealed, and by mistake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Shell, passphrase_file

SECRET = b"a box's passphrase"


def shell_in(folder: Path) -> Shell:
    passphrase = passphrase_file(folder / "q", SECRET)
    return Shell(folder, {"LUMEN_BOX_HOME": str(folder / "box"), "LUMEN_BOX_PASSPHRASE_FILE": passphrase})


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = shell_in(tmp_path)
    yield shell
    shell("stop", code=None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A box that no test may change, a passphrase that is too short, and a key that everybody can read."""
    folder = tmp_path_factory.mktemp("made")
    passphrase_file(folder / "short", b"short")
    (folder / "open").write_bytes(bytes(64))
    (folder / "open").chmod(0o644)
    shell = shell_in(folder)
    shell("init")
    return shell


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


def test_a_lost_passphrase(shell: Shell, tmp_path: Path) -> None:
    """The drill: open with the print, add a new passphrase and a new print, remove what was lost and used."""
    recovery = shell("init", "--json").json["recovery_key"]
    shell.environment["LUMEN_BOX_PASSPHRASE_FILE"] = ""
    lost, used = shell("key", "slot", "list", "--json").json["slots"]
    shell("serve", "--port", "0", "--detach")
    assert shell("key", "slot", "add", "recovery", code=12).out == "", "sealed"
    shell("unlock", "--recovery", "--passphrase-file", passphrase_file(tmp_path / "r", recovery.encode()))
    new = passphrase_file(tmp_path / "n", b"a better passphrase")
    added = shell("key", "slot", "add", "passphrase", "--label", "Dr Who", "--new-passphrase-file", new, "--json").json
    assert (added["kind"], added["label"]) == ("passphrase", "Dr Who")
    assert "opens this box no longer" in shell("key", "slot", "remove", lost["id"], "--yes").out
    assert "No recovery key is left" in shell("key", "slot", "remove", used["id"], "--yes").err
    printed = shell("key", "slot", "add", "recovery")
    assert printed.out.startswith("Recovery key: ") and "shown this once" in printed.err
    shell("stop")
    assert [row.partition("made ")[2][10:] for row in shell("key", "slot", "list").out.splitlines()] == [
        "  Dr Who",
        "  recovery key",
    ]
    assert shell("key", "list", code=12, LUMEN_BOX_PASSPHRASE_FILE=str(tmp_path / "q")).out == ""
    assert shell("key", "list", LUMEN_BOX_PASSPHRASE_FILE=new).out.startswith("key-encryption key")


def test_a_key_file_is_added_and_opens_the_box_by_itself(shell: Shell, tmp_path: Path) -> None:
    shell("init")
    key = tmp_path / "stick.key"
    key.touch(mode=0o600)
    key.write_bytes(bytes(range(64)) * 1024)  # the largest there may be
    added = shell("key", "slot", "add", "key-file", "--key-file", "stick.key", "--label", "stick")
    assert "opens this box now" in added.out
    assert f'key_file = "{key}"' in added.err and "lies on the disk that it protects" in added.err
    shell.environment["LUMEN_BOX_PASSPHRASE_FILE"] = ""
    shell("serve", "--port", "0", "--detach")
    assert "The box is open." in shell("unlock", "--key-file", "stick.key").err
    shell("stop")
    (tmp_path / "box" / "settings.toml").write_text(f'[vault]\nkey_file = "{key}"\n')
    assert shell("key", "list").out.startswith("key-encryption key")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["add", "nothing"], 2, "is not one of"),
        (["add", "passphrase"], 12, "with --new-passphrase-file."),
        (["add", "passphrase", "--new-passphrase-file", "short"], 2, "is too short"),
        (["add", "passphrase", "--label", "x" * 65, "--new-passphrase-file", "q"], 2, "A slot's label has 1 to 64"),
        (["add", "recovery", "--new-passphrase-file", "q"], 2, "goes with the kind passphrase"),
        (["add", "key-file"], 2, "--key-file goes with the kind key-file"),
        (["add", "passphrase", "--key-file", "q"], 2, "--key-file goes with the kind key-file"),
        (["add", "key-file", "--key-file", "short"], 2, "A key file has 32 to 65536 bytes"),
        (["add", "key-file", "--key-file", "open"], 2, "chmod 600"),
        (["remove", "0123456789abcdef"], 2, "Say so with --yes."),
        (["remove", "0123456789abcdef", "--yes"], 14, "`lumen-box key slot list`"),
    ],
)
def test_slots_are_not_changed_by_mistake(made: Shell, words: list[str], code: int, says: str) -> None:
    before = (made.folder / "box" / "vault" / "keyring.a").read_bytes()
    refused = made("key", "slot", *words, code=code)
    assert refused.out == "" and says in refused.err, refused.err
    assert (made.folder / "box" / "vault" / "keyring.a").read_bytes() == before
