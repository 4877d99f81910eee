"""Copies that were torn, damaged, moved back or tampered with: one is healed from the other, or it is said plainly."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lumen_box.atomic import Disk
from lumen_box.errors import Damaged, TooNew, WrongKey
from lumen_box.sealed import envelope
from lumen_box.vault.keyring import Keyring, encode, open_body, peek
from lumen_box.vault.slots import SlotInfo, new_slot, seal_kek
from lumen_box.vault.vault import Vault
from tests.support.crash import FailingDisk
from tests.vault.opening import CHEAP, SECRETS, WORD, contents, rechecked

Touch = Callable[[bytes], bytes]


@pytest.fixture
def folder(copied: Path) -> Path:
    return copied


def flip(place: int) -> Touch:
    return lambda data: data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def header(edit: Callable[[Any], None]) -> Touch:
    """Edits the header and puts the checksum right, as somebody would who can write to the disk."""

    def touch(data: bytes) -> bytes:
        magic, line, rest = data.split(b"\n", 2)
        value = json.loads(line)
        edit(value)
        text = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        return rechecked(b"\n".join((magic, text, rest)))

    return touch


def put(name: str, value: Any) -> Touch:
    return header(lambda top: top.__setitem__(name, value))


def put_slot(name: str, value: Any) -> Touch:
    return header(lambda top: top["slots"][0].__setitem__(name, value))


DAMAGE: dict[str, Touch] = {
    "empty": lambda data: b"",
    "torn in the middle": lambda data: data[: len(data) // 2],
    "cut by one byte": lambda data: data[:-1],
    "a byte more": lambda data: data + b"\0",
    "all nought": lambda data: bytes(len(data)),
    "second half nought": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "flip in the magic": flip(0),
    "flip in the header": flip(100),
    "flip in the body": flip(-100),
    "flip in the checksum": flip(-1),
    "another kind of file": lambda data: rechecked(b"#!/bin/sh\n" + bytes(100)),
    "no end of the header": lambda data: rechecked(data[:18] + b"1\n" + b"x" * 400_000),
}
TAMPERED: dict[str, Touch] = {
    "flip in the body, checksum right": lambda data: rechecked(flip(-100)(data)),
    "body cut away, checksum right": lambda data: rechecked(data[:-200]),
    "sequence raised": put("sequence", 2**50),
    "vault renamed": put("vault", "0" * 32),
    "generation raised": put("generation", 2),
    "label edited": put_slot("label", "nothing to see"),
    "cost lowered": put_slot("cost", [2, 64, 1]),
    "salt changed": put_slot("salt", "0" * 32),
    "tag changed": put_slot("tag", "0" * 64),
    "slots swapped": header(lambda top: top["slots"].reverse()),
    "slot left out": header(lambda top: top["slots"].pop()),
}
MALFORMED: dict[str, Touch] = {
    "no slots": put("slots", []),
    "slots without end": header(lambda top: top["slots"].extend(top["slots"] * 20)),
    "sequence nought": put("sequence", 0),
    "sequence beyond 2^53": put("sequence", 2**53),
    "sequence a float": put("sequence", 1.5),
    "sequence missing": header(lambda top: top.pop("sequence")),
    "cost without end": put_slot("cost", [3, 2**40, 4]),
    "cost of Booleans": put_slot("cost", [True, True, True]),
    "cost too long": put_slot("cost", [1, 64, 1, 1]),
    "cost missing": header(lambda top: top["slots"][0].pop("cost")),
    "key too short": put_slot("public", base64.b64encode(b"x").decode()),
    "key not base 64": put_slot("public", "*" * 1624),
    "sealed too long": put_slot("sealed", "A" * 4000),
}


@pytest.mark.parametrize("name", ["keyring.a", "keyring.b"])
@pytest.mark.parametrize("touch", (DAMAGE | TAMPERED | MALFORMED).values(), ids=(DAMAGE | TAMPERED | MALFORMED).keys())
def test_one_damaged_copy_is_healed_from_the_other(folder: Path, name: str, touch: Touch) -> None:
    good = (folder / name).read_bytes()
    (folder / name).write_bytes(touch(good))
    vault = Vault.open(folder, WORD)
    assert contents(vault) == SECRETS
    assert len(vault.repairs) == 1 and vault.repairs[0].startswith(name) and "written again" in vault.repairs[0]
    assert (folder / "keyring.a").read_bytes() == (folder / "keyring.b").read_bytes() == good
    assert Vault.open(folder, WORD).repairs == ()


@pytest.mark.parametrize("touch", (DAMAGE | MALFORMED).values(), ids=(DAMAGE | MALFORMED).keys())
def test_two_damaged_copies_are_damaged_and_left_alone(folder: Path, touch: Touch) -> None:
    for path in folder.iterdir():
        path.write_bytes(touch(path.read_bytes()))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for ask in (lambda: Vault.open(folder, WORD), lambda: Vault.slots_of(folder)):
        with pytest.raises(
            Damaged, match=r"Both copies of the keyring are damaged: keyring\.a .*keyring\.b "
        ) as caught:
            ask()
        assert "backup" in str(caught.value) and len(str(caught.value)) < 1000
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("touch", TAMPERED.values(), ids=TAMPERED.keys())
def test_two_copies_tampered_with_do_not_open(folder: Path, touch: Touch) -> None:
    for path in folder.iterdir():
        path.write_bytes(touch(path.read_bytes()))
    with pytest.raises((Damaged, WrongKey)):
        Vault.open(folder, WORD)


def test_a_file_beyond_the_cap_is_not_read(folder: Path) -> None:
    with (folder / "keyring.a").open("r+b") as file:
        file.truncate(2**40)
    assert "not a file of a proper size" in Vault.open(folder, WORD).repairs[0]
    with (folder / "keyring.a").open("r+b") as file:
        file.truncate(2**20)
    assert "checksum" in Vault.open(folder, WORD).repairs[0]


@pytest.mark.parametrize("missing", ["keyring.a", "keyring.b"])
def test_a_missing_copy_is_written_again(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    vault = Vault.open(folder, WORD)
    assert "is missing" in vault.repairs[0] and (folder / missing).exists()


@pytest.mark.parametrize("name", ["keyring.a", "keyring.b"])
def test_a_copy_moved_back_is_noticed_and_healed(folder: Path, name: str) -> None:
    old = (folder / name).read_bytes()
    with Vault.open(folder, WORD).change() as change:
        change.delete("content", "ab" * 16)
    (folder / name).write_bytes(old)
    vault = Vault.open(folder, WORD)
    assert vault.ids("content") == [] and vault.sequence == 3
    assert "sequence 2, not 3" in vault.repairs[0]
    assert (folder / name).read_bytes() != old


def test_a_removed_slot_does_not_open_the_copy_that_was_left_behind(folder: Path) -> None:
    old = (folder / "keyring.b").read_bytes()
    vault = Vault.open(folder, WORD)
    vault.remove_slot(vault.slots[0].id)
    (folder / "keyring.b").write_bytes(old)
    with pytest.raises(WrongKey):
        Vault.open(folder, WORD)
    assert (folder / "keyring.b").read_bytes() == old  # nobody has been let in to heal it


@pytest.mark.parametrize("number", [b"2", b"10"])
def test_a_newer_format_is_told_from_damage(folder: Path, number: bytes) -> None:
    path = folder / "keyring.a"
    newer = rechecked(path.read_bytes().replace(b"keyring 1\n", b"keyring " + number + b"\n", 1))
    path.write_bytes(newer)
    with pytest.raises(TooNew):
        Vault.open(folder, WORD)
    assert path.read_bytes() == newer


def test_an_unknown_kind_of_slot_or_field_is_newer(folder: Path) -> None:
    good = (folder / "keyring.a").read_bytes()
    for touch in (put_slot("kind", "tpm2"), put("extra", 1), put_slot("extra", 1)):
        (folder / "keyring.a").write_bytes(touch(good))
        with pytest.raises(TooNew):
            Vault.open(folder, WORD)


def test_a_link_in_place_of_a_copy_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes((folder / "keyring.a").read_bytes())
    (folder / "keyring.a").unlink()
    (folder / "keyring.a").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pipe")
    vault = Vault.open(folder, WORD)
    assert "keyring.a cannot be used" in vault.repairs[0] and not (folder / "keyring.a").is_symlink()
    (folder / "keyring.b").unlink()
    os.mkfifo(folder / "keyring.b")
    assert "keyring.b cannot be used" in Vault.open(folder, WORD).repairs[0]


def test_a_full_disk_keeps_nobody_out(folder: Path) -> None:
    (folder / "keyring.a").write_bytes(b"")
    vault = Vault.open(folder, WORD, disk=FailingDisk(28, 1))
    assert contents(vault) == SECRETS and "could not be written again" in vault.repairs[0]
    assert "written again from" in Vault.open(folder, WORD, disk=Disk()).repairs[0]


def opened(folder: Path) -> tuple[Keyring, bytes]:
    vault = Vault.open(folder, WORD)
    assert vault._state
    return vault._state.keyring, vault._state.kek


def write_both(folder: Path, data: bytes) -> None:
    for path in folder.iterdir():
        path.write_bytes(data)


def test_a_keyring_forged_without_a_key_does_not_open(folder: Path) -> None:
    """The public halves of the slots are readable: sealing a KEK of one's own to them must not be enough."""
    stored = peek((folder / "keyring.a").read_bytes())
    kek, top = envelope.new_key(), stored.header
    for tag_key in (bytes(32), kek):
        slots = tuple(seal_kek(slot, kek, tag_key, top.vault, top.generation) for slot in top.slots)
        forged = Keyring(replace(top, slots=slots, sequence=99), {})
        write_both(folder, encode(forged, kek))
        with pytest.raises(WrongKey):
            Vault.open(folder, WORD)


def test_a_foreign_slot_cannot_be_added_without_the_kek(folder: Path) -> None:
    stored = peek((folder / "keyring.a").read_bytes())
    slot, keys = new_slot("mine", WORD, "2026-01-01T00:00:00Z", CHEAP)
    top = stored.header
    foreign = seal_kek(slot, envelope.new_key(), keys.tag, top.vault, top.generation)
    edited = encode(Keyring(replace(top, slots=(foreign, *top.slots[1:])), {}), envelope.new_key())
    end = edited.index(b"\n", 20) + 1
    write_both(folder, rechecked(edited[:end] + stored.body + bytes(32)))
    with pytest.raises((Damaged, WrongKey)):
        Vault.open(folder, WORD)
    assert isinstance(slot.info, SlotInfo)


def test_an_entry_cannot_be_moved_or_brought_back(folder: Path) -> None:
    old, _ = opened(folder)
    with Vault.open(folder, WORD).change() as change:
        change.put("identity", "1", b"new")
    keyring, kek = opened(folder)
    identity, content = keyring.entries["identity", "1"], keyring.entries["content", "ab" * 16]
    assert identity.version == 3 and content.version == 2
    for forged in (
        replace(identity, wrapped=content.wrapped),
        replace(content, purpose="identity", id="1"),
        replace(identity, wrapped=old.entries["identity", "1"].wrapped),
    ):
        entries = {**keyring.entries, ("identity", "1"): forged}
        data = encode(Keyring(keyring.header, entries), kek)
        assert open_body(peek(data), kek).entries["identity", "1"] == forged
        write_both(folder, data)
        with pytest.raises(Damaged):
            Vault.open(folder, WORD).get("identity", "1")


def test_an_entry_of_an_older_generation_cannot_be_brought_back(folder: Path) -> None:
    before, _ = opened(folder)
    Vault.open(folder, WORD).rotate_kek()
    keyring, kek = opened(folder)
    old = before.entries["identity", "1"]
    write_both(folder, encode(Keyring(keyring.header, {**keyring.entries, ("identity", "1"): old}), kek))
    with pytest.raises(Damaged):
        Vault.open(folder, WORD).get("identity", "1")
