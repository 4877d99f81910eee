"""The vault as its users meet it: secrets by purpose and id, slots, changes, rotation, and what is refused."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lumen_box.errors import Damaged, NoBox, NotFound, Sealed, Stale, UsageError, WrongKey
from lumen_box.sealed import envelope
from lumen_box.sealed.passphrase import Cost
from lumen_box.vault import rotation
from lumen_box.vault.keyring import Entry
from lumen_box.vault.recovery import new_recovery_code
from lumen_box.vault.slots import KeyFile, Passphrase, Recovery, Unlock
from lumen_box.vault.vault import Vault
from tests.support import vectors
from tests.support.crash import QuickDisk
from tests.vault.opening import ALL, CHEAP, CLOCK, CODE, FILE, SECRETS, WORD, contents


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "vault"


@pytest.fixture
def vault(copied: Path, folder: Path) -> Vault:
    assert copied == folder
    return Vault.open(folder, WORD, disk=QuickDisk(), clock=CLOCK)


@pytest.mark.parametrize("unlock", [WORD, FILE, CODE])
def test_every_slot_opens_it(vault: Vault, folder: Path, unlock: Unlock) -> None:
    again = Vault.open(folder, unlock)
    assert contents(again) == contents(vault) == SECRETS
    assert (again.sequence, again.generation, again.repairs) == (2, 1, ())


@pytest.mark.parametrize(
    "unlock",
    [
        Passphrase(b"a passphrasf"),
        Passphrase(FILE.secret),
        KeyFile(FILE.secret + b"k"),
        KeyFile(WORD.secret * 3),
        Recovery(new_recovery_code()),
    ],
)
def test_nothing_else_does(vault: Vault, folder: Path, unlock: Unlock) -> None:
    with pytest.raises(WrongKey) as caught:
        Vault.open(folder, unlock)
    assert caught.value.exit_code == 12


def test_the_vault_of_the_second_implementation_opens(folder: Path) -> None:
    vector = vectors.load("keyring")
    folder.mkdir()
    (folder / "keyring.b").write_bytes(bytes.fromhex(vector["file"]))
    opens = vector["opens"]
    ways: list[Unlock] = [
        Passphrase(bytes.fromhex(opens["passphrase"])),
        KeyFile(bytes.fromhex(opens["key-file"])),
        Recovery(opens["recovery"]),
    ]
    for unlock in ways:
        vault = Vault.open(folder, unlock)
        assert (vault.sequence, vault.generation) == (vector["sequence"], vector["generation"])
        for purpose, name, secret in vector["entries"]:
            assert vault.get(purpose, name).hex() == secret


def test_secrets_rest_in_private_files_and_in_no_clear_form(vault: Vault, folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["keyring.a", "keyring.b"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        data = path.read_bytes()
        assert b"by heart" in data  # the search finds what is there
        for needle in (*SECRETS.values(), *(name.encode() for _, name in SECRETS if len(name) > 4), WORD.secret):
            assert needle not in data


def test_a_change_is_whole_or_nothing(vault: Vault, folder: Path) -> None:
    before = (folder / "keyring.a").read_bytes()
    with pytest.raises(RuntimeError, match="on purpose"), vault.change() as change:
        change.put("audit", "1", b"new")
        raise RuntimeError("on purpose")
    assert (folder / "keyring.a").read_bytes() == before and vault.sequence == 2
    with vault.change():
        pass
    assert (folder / "keyring.a").read_bytes() == before
    with vault.change() as change:
        change.put("audit", "1", b"new")
        change.put("identity", "1", b"other")
        change.delete("content", "ab" * 16)
    expected = {("audit", "1"): b"new", ("identity", "1"): b"other", ("floors", "pub"): b'{"root":3}'}
    assert contents(vault) == contents(Vault.open(folder, WORD)) == expected and vault.sequence == 3
    assert (folder / "keyring.a").read_bytes() == (folder / "keyring.b").read_bytes() != before


def test_what_is_not_there(vault: Vault) -> None:
    assert vault.get_or_none("content", "cd") is None and vault.ids("nothing") == []
    with pytest.raises(NotFound, match="content key 'cd'"):
        vault.get("content", "cd")
    with pytest.raises(NotFound), vault.change() as change:
        change.delete("content", "cd")
    with pytest.raises(NotFound), vault.change() as change:
        change.put("audit", "1", b"x")
        change.delete("audit", "1")
        change.delete("audit", "1")


@pytest.mark.parametrize(
    ("purpose", "name", "secret"),
    [
        ("slot", "x", b""),
        ("keyring", "x", b""),
        ("", "x", b""),
        ("Upper", "x", b""),
        ("a" * 33, "x", b""),
        ("audit", "", b""),
        ("audit", "a b", b""),
        ("audit", "é", b""),
        ("audit", "x" * 129, b""),
        ("audit", "x", bytes(4 * 1024 * 1024 + 1)),
    ],
)
def test_what_cannot_be_put(vault: Vault, purpose: str, name: str, secret: bytes) -> None:
    with pytest.raises(ValueError, match=r"purpose|outside"), vault.change() as change:
        change.put(purpose, name, secret)
    assert vault.sequence == 2


def test_the_vaults_own_entries_are_out_of_reach(vault: Vault) -> None:
    slot = vault.slots[0].id
    assert vault.ids("slot") == [] and vault.get_or_none("slot", slot) is None
    with pytest.raises(NotFound), vault.change() as change:
        change.delete("slot", slot)


def test_slots_can_be_listed_while_it_is_sealed(vault: Vault, folder: Path) -> None:
    slots = Vault.slots_of(folder)
    assert slots == vault.slots
    assert [(slot.kind, slot.label) for slot in slots] == [
        ("passphrase", "by heart"),
        ("key-file", "usb stick"),
        ("recovery", "printed"),
    ]
    assert {slot.created for slot in slots} == {"2026-03-04T05:06:07Z"}


def test_a_slot_is_added_and_removed(vault: Vault, folder: Path) -> None:
    new = KeyFile(b"n" * 32)
    info = vault.add_slot("second stick", new, cost=CHEAP)
    old_copy = (folder / "keyring.a").read_bytes()
    assert contents(Vault.open(folder, new)) == SECRETS
    vault.remove_slot(info.id)
    with pytest.raises(WrongKey):
        Vault.open(folder, new)
    assert contents(Vault.open(folder, WORD)) == SECRETS and info not in vault.slots
    assert vault.generation == 2  # so that an old copy, which the removed slot opens, gives no key to the new one
    (folder / "old").mkdir()
    (folder / "old" / "keyring.a").write_bytes(old_copy)
    old = Vault.open(folder / "old", new)
    assert old._state and vault._state and old._state.kek != vault._state.kek


def test_the_last_slot_stays(vault: Vault, folder: Path) -> None:
    first, second, last = vault.slots
    vault.remove_slot(first.id)
    vault.remove_slot(second.id)
    with pytest.raises(UsageError, match="last slot"):
        vault.remove_slot(last.id)
    with pytest.raises(NotFound):
        vault.remove_slot(first.id)
    assert contents(Vault.open(folder, CODE)) == SECRETS


def test_rotation_changes_the_kek_and_nothing_else(vault: Vault, folder: Path) -> None:
    before, state = (folder / "keyring.a").read_bytes(), vault._state
    vault.rotate_kek(WORD, CODE)
    assert (vault.sequence, vault.generation) == (3, 2) and contents(vault) == SECRETS
    for unlock in (WORD, FILE, CODE):
        assert contents(Vault.open(folder, unlock)) == SECRETS
    assert state and vault._state and state.kek != vault._state.kek
    wrapped = [entry.wrapped for entry in state.keyring.entries.values()]
    after = (folder / "keyring.a").read_bytes()
    assert before != after and not any(piece in after for piece in wrapped)


class FlippingDisk(QuickDisk):
    """Flips one bit of every file that it writes."""

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        flipped = bytearray(data)
        flipped[len(flipped) // 2] ^= 1
        super().write(fd, bytes(flipped), offset)


@pytest.mark.parametrize("act", [Vault.rotate_kek, lambda vault: vault.add_slot("x", FILE, cost=CHEAP)])
def test_what_the_disk_did_not_keep_is_never_switched_to(
    folder: Path, copied: Path, act: Callable[[Vault], None]
) -> None:
    before = (folder / "keyring.a").read_bytes()
    vault = Vault.open(folder, WORD, disk=FlippingDisk())
    with pytest.raises(Damaged, match="did not keep"):
        act(vault)
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == [before, before]
    assert contents(vault) == SECRETS


def test_a_rotation_that_loses_a_secret_is_never_switched_to(
    vault: Vault, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(entry: Entry, secret: bytes, kek: bytes, generation: int) -> Entry:
        secret = b"something else" if entry.purpose == "floors" else secret
        return replace(entry, wrapped=envelope.wrap(kek, secret, entry.label(generation)))

    monkeypatch.setattr(rotation, "_rewrapped", careless)
    before = (folder / "keyring.a").read_bytes()
    with pytest.raises(Damaged, match="does not open everything"):
        vault.rotate_kek()
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == [before, before]
    assert contents(vault) == contents(Vault.open(folder, WORD)) == SECRETS


def test_rotation_that_does_not_open_with_the_given_key_is_not_made(vault: Vault, folder: Path) -> None:
    before = (folder / "keyring.a").read_bytes()
    with pytest.raises(Damaged, match="does not open everything"):
        vault.rotate_kek(Passphrase(b"wrong"))
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == [before, before]
    assert contents(vault) == SECRETS and vault.generation == 1


def test_a_replaced_keyring_is_overwritten_unless_it_is_linked_elsewhere(vault: Vault, folder: Path) -> None:
    with (folder / "keyring.a").open("rb") as held:
        (folder / "backup").hardlink_to(folder / "keyring.b")
        old = (folder / "keyring.b").read_bytes()
        vault.rotate_kek()
        assert held.read() == bytes(len(old))
    assert (folder / "backup").read_bytes() == old


def test_closed_it_answers_sealed(vault: Vault) -> None:
    vault.close()
    for ask in (lambda: vault.get("identity", "1"), lambda: vault.sequence, lambda: vault.slots, vault.rotate_kek):
        with pytest.raises(Sealed) as caught:
            ask()
        assert caught.value.exit_code == 12
    assert b"i" * 64 not in repr(vault.__dict__).encode()


def test_where_there_is_none_and_where_there_is_one(vault: Vault, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NoBox):
        Vault.open(tmp_path / "nowhere", WORD)
    with pytest.raises(NoBox):
        Vault.slots_of(tmp_path / "nowhere")
    before = (folder / "keyring.a").read_bytes()
    with pytest.raises(UsageError, match="already"):
        Vault.create(folder, ALL, cost=CHEAP)
    assert (folder / "keyring.a").read_bytes() == before


@pytest.mark.parametrize(
    "slots",
    [
        [],
        [("", WORD)],
        [("x" * 65, WORD)],
        [("tab\t", WORD)],
        [("x", Passphrase(b""))],
        [("x", KeyFile(b"k" * 31))],
        [("x", KeyFile(bytes(65537)))],
        [("x", WORD)] * 33,
    ],
)
def test_what_makes_no_slot(folder: Path, slots: list[tuple[str, Unlock]]) -> None:
    with pytest.raises(UsageError):
        Vault.create(folder, slots, cost=CHEAP)
    assert not folder.exists()


def test_a_vault_moved_back_whole_is_told_by_its_sequence(vault: Vault, folder: Path) -> None:
    old = {path: path.read_bytes() for path in folder.iterdir()}
    vault.rotate_kek()
    seen = vault.sequence
    assert Vault.open(folder, WORD, least_sequence=seen).sequence == seen
    for path, data in old.items():
        path.write_bytes(data)
    with pytest.raises(Stale) as caught:
        Vault.open(folder, WORD, least_sequence=seen)
    assert caught.value.exit_code == 21 and {path: path.read_bytes() for path in folder.iterdir()} == old


def test_threads_take_turns(vault: Vault, folder: Path) -> None:
    def put(name: str) -> None:
        with vault.change() as change:
            change.put("audit", name, name.encode())

    threads = [threading.Thread(target=put, args=(f"{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert vault.sequence == 10 and Vault.open(folder, WORD).ids("audit") == [str(number) for number in range(8)]


def test_a_change_within_a_change_is_refused(vault: Vault) -> None:
    with pytest.raises(RuntimeError, match="under way"), vault.change(), vault.change():
        pass
    with vault.change() as change:
        change.put("audit", "1", b"afterwards it works again")


def test_the_default_cost_is_the_designs(folder: Path) -> None:
    vault = Vault.create(folder, [("x", WORD)], clock=CLOCK)
    assert vault._state and vault._state.keyring.header.slots[0].cost == Cost(3, 65536, 4)
