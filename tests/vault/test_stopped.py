"""Killed, unplugged, full or failing at every single operation: the vault is as before or as changed, and whole."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from lumen_box.atomic import Disk
from lumen_box.errors import NoBox, NoSpace
from lumen_box.vault.slots import KeyFile, Unlock
from lumen_box.vault.vault import Vault
from tests.support.crash import GROWING, QuickDisk, fail_everywhere, lose_everywhere, stop_everywhere
from tests.vault.opening import ALL, CHEAP, CLOCK, CODE, SECRETS, WORD, contents

NEW = KeyFile(b"n" * 40)
AFTER = {**SECRETS, ("audit", "1"): b"added"}
del AFTER["content", "ab" * 16]


def opened(folder: Path, disk: Disk) -> Vault:
    return Vault.open(folder, WORD, disk=disk, clock=CLOCK)


def change(vault: Vault) -> None:
    with vault.change() as wanted:
        wanted.put("audit", "1", b"added")
        wanted.delete("content", "ab" * 16)


def add(vault: Vault) -> None:
    vault.add_slot("new", NEW, cost=CHEAP)


def remove(vault: Vault) -> None:
    vault.remove_slot(vault.slots[1].id)


def rotate(vault: Vault) -> None:
    vault.rotate_kek()


def facts(vault: Vault) -> tuple[object, ...]:
    return contents(vault), vault.generation, len(vault.slots)


# What each act leaves: contents, generation, number of slots.
ACTS: dict[str, tuple[Callable[[Vault], None], tuple[object, ...]]] = {
    "change": (change, (AFTER, 1, 3)),
    "add a slot": (add, (SECRETS, 1, 4)),
    "remove a slot": (remove, (SECRETS, 2, 2)),
    "rotate the KEK": (rotate, (SECRETS, 2, 3)),
}
BEFORE = (SECRETS, 1, 3)
LEAST = 22


@pytest.fixture
def template(copied: Path) -> Path:
    return copied


class Seen:
    """Opens what a stopped process left, and remembers whether it went on or back."""

    def __init__(self, after: tuple[object, ...]) -> None:
        self.after, self.back, self.on = after, 0, 0

    def check(self, folder: Path) -> None:
        vault = opened(folder, QuickDisk())
        found = facts(vault)
        assert found in (BEFORE, self.after)
        self.back += found == BEFORE
        self.on += found == self.after
        assert facts(Vault.open(folder, CODE)) == found
        again = opened(folder, QuickDisk())
        assert again.repairs == () and facts(again) == found
        assert sorted(path.name for path in folder.iterdir()) == ["keyring.a", "keyring.b"]
        assert (folder / "keyring.a").read_bytes() == (folder / "keyring.b").read_bytes()
        again.rotate_kek(WORD)
        assert contents(Vault.open(folder, WORD)) == found[0]


@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize(("act", "after"), ACTS.values(), ids=ACTS.keys())
def test_killed_at_every_operation(
    template: Path, tmp_path: Path, act: Callable[[Vault], None], after: tuple[object, ...], torn: bool
) -> None:
    seen = Seen(after)
    tried = stop_everywhere(template, tmp_path, lambda folder, disk: act(opened(folder, disk)), seen.check, torn=torn)
    print(f"killed at each of {tried} operations: {seen.back} went back, {seen.on} went on")
    assert tried >= LEAST and seen.back >= 12 and seen.on >= 8


@pytest.mark.parametrize(("act", "after"), ACTS.values(), ids=ACTS.keys())
def test_the_power_cut_after_every_operation(
    template: Path, tmp_path: Path, act: Callable[[Vault], None], after: tuple[object, ...]
) -> None:
    seen = Seen(after)
    tried = lose_everywhere(template, tmp_path, lambda folder, disk: act(opened(folder, disk)), seen.check)
    print(f"power cut after each of {tried} operations: {seen.back} went back, {seen.on} went on")
    assert tried >= LEAST and seen.back >= 4 * 12 and seen.on >= 4 * 6


def test_killed_while_healing(template: Path, tmp_path: Path) -> None:
    (template / "keyring.a").write_bytes(b"torn")
    (template / "keyring.b.next").write_bytes(b"left by an interrupted change")
    (template / ".keyring.a.next.1234.tmp").write_bytes(b"likewise")
    seen = Seen(BEFORE)

    def act(folder: Path, disk: Disk) -> None:
        assert opened(folder, disk).repairs

    tried = stop_everywhere(template, tmp_path, act, seen.check) + lose_everywhere(template, tmp_path, act, seen.check)
    print(f"healing stopped {tried} times")
    assert tried >= 2 * 10


def test_killed_while_it_is_created(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()

    def act(folder: Path, disk: Disk) -> None:
        Vault.create(folder / "vault", ALL, disk=disk, cost=CHEAP)

    def check(folder: Path) -> None:
        try:
            vault = opened(folder / "vault", QuickDisk())
        except NoBox:
            vault = Vault.create(folder / "vault", ALL, disk=QuickDisk(), cost=CHEAP)
        assert vault.sequence == 1 and len(vault.slots) == 3
        assert Vault.open(folder / "vault", CODE).repairs == ()
        assert sorted(path.name for path in (folder / "vault").iterdir()) == ["keyring.a", "keyring.b"]

    tried = stop_everywhere(home, tmp_path, act, check) + lose_everywhere(home, tmp_path, act, check)
    print(f"creation stopped {tried} times")
    assert tried >= 2 * 18


FAILURES = [
    (errno.ENOSPC, GROWING),
    (errno.EDQUOT, GROWING),
    (errno.EIO, GROWING | {"fsync_dir"}),
    (errno.EROFS, GROWING | {"fsync_dir"}),
]


@pytest.mark.parametrize(
    ("number", "operations"),
    FAILURES,
    ids=[errno.errorcode[number] for number, _ in FAILURES],
)
@pytest.mark.parametrize(("act", "after"), ACTS.values(), ids=ACTS.keys())
def test_a_disk_that_fails_at_every_operation(
    template: Path,
    tmp_path: Path,
    act: Callable[[Vault], None],
    after: tuple[object, ...],
    number: int,
    operations: frozenset[str],
) -> None:
    held: list[Vault] = []

    def run(folder: Path, disk: Disk) -> None:
        held[:] = [opened(folder, QuickDisk())]
        held[0]._disk = disk
        act(held[0])

    def check(folder: Path, error: Exception) -> None:
        full = number in (errno.ENOSPC, errno.EDQUOT)
        assert isinstance(error, NoSpace) if full else isinstance(error, OSError) and error.errno == number
        vault = held[0]
        found = facts(vault)
        assert found in (BEFORE, after)
        if isinstance(error, NoSpace):
            assert ("change itself is done" in error.kept) == (found == after)
        if found == BEFORE:
            assert sorted(path.name for path in folder.iterdir()) == ["keyring.a", "keyring.b"]
        vault._disk = QuickDisk()
        with vault.change() as wanted:  # the vault goes on once the disk works again
            wanted.put("audit", "later", b"!")
        expected = {**contents(vault), ("audit", "later"): b"!"}
        for unlock in ways(vault):
            assert contents(Vault.open(folder, unlock)) == expected
        assert sorted(path.name for path in folder.iterdir()) == ["keyring.a", "keyring.b"]

    tried = fail_everywhere(template, tmp_path, run, check, errno=number, operations=operations)
    print(f"{errno.errorcode[number]} at each of {tried} operations")
    assert tried >= 12


def ways(vault: Vault) -> list[Unlock]:
    return [WORD, CODE, *([NEW] if len(vault.slots) == 4 else [])]
