"""The slots of a box: added, listed, removed; what opens afterwards, and what the log says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lumen_box.audit import Event
from lumen_box.errors import LumenError, NotFound, Sealed, UsageError, WrongKey
from lumen_box.usecases import doctor, keyslots
from lumen_box.usecases.appliance import Appliance
from lumen_box.usecases.box import Box
from lumen_box.vault.slots import KeyFile, Passphrase, Recovery, Unlock
from lumen_box.vault.vault import Vault
from tests.support.scene import ACTOR, BOX_SECRET, CHEAP, Scene
from tests.usecases.aftermath import log_is_whole
from tests.usecases.test_keys import said

STICK = KeyFile(b"s" * 64)
NEW = Passphrase(b"a new passphrase")


def opens(folder: Path, unlock: Unlock) -> bool:
    try:
        Vault.open(folder, unlock)
    except WrongKey:
        return False
    return True


@pytest.mark.parametrize(("label", "unlock"), [("stick in the safe", STICK), ("night shift", NEW)])
def test_one_more_slot_opens_the_box(scene: Scene, label: str, unlock: Unlock) -> None:
    with scene.appliance() as appliance:
        added = keyslots.add(appliance.box, label, unlock, ACTOR, cost=CHEAP)
        assert added.recovery_code is None
        assert [slot.label for slot in keyslots.listing(appliance.box)] == ["passphrase", "recovery", label]
        intent, outcome = said(appliance, Event.SLOT_ADDED)
        assert intent.detail == {"kind": unlock.kind, "label": label}
        assert (outcome.outcome, outcome.detail) == ("done", {"slot": added.slot.id})
        log_is_whole(appliance)
    assert all(opens(scene.home.vault, key) for key in (unlock, Passphrase(BOX_SECRET), Recovery(scene.recovery)))


def test_a_recovery_key_is_made_by_the_box_and_kept_nowhere(scene: Scene) -> None:
    with scene.appliance() as appliance:
        code = keyslots.add(appliance.box, "second print", None, ACTOR).recovery_code
    assert code is not None and code != scene.recovery
    assert opens(scene.home.vault, Recovery(code)) and opens(scene.home.vault, Recovery(scene.recovery))
    needles = (code.encode(), code.replace("-", "").encode())
    files = [path.read_bytes() for path in scene.home.root.rglob("*") if path.is_file()]
    assert any(b"second print" in data for data in files), "the search finds what is there"
    assert not any(needle in data for data in files for needle in needles)


def test_a_removed_slot_opens_neither_the_box_nor_the_key_that_holds_now(scene: Scene) -> None:
    with scene.appliance() as appliance:
        added = keyslots.add(appliance.box, "stick", STICK, ACTOR)
        shutil.copytree(scene.home.vault, scene.folder / "copy")
        removed = keyslots.remove(appliance.box, added.slot.id, ACTOR)
        assert (removed.slot.label, removed.generation) == ("stick", 2)
        assert [slot.kind for slot in removed.left] == ["passphrase", "recovery"]
        assert said(appliance, Event.SLOT_REMOVED)[-1].detail == {
            "kind": "key-file", "label": "stick", "generation": 2,
        }  # fmt: skip
        log_is_whole(appliance)
    assert not opens(scene.home.vault, STICK) and opens(scene.home.vault, Passphrase(BOX_SECRET))
    assert opens(scene.folder / "copy", STICK), "an old copy still opens: the command says so"


def refused(scene: Scene, event: Event, kind: type[LumenError], act: Callable[[Box], object]) -> LumenError:
    """What ``act`` is refused with; nothing is changed, and the log knows of it."""
    before = {path: path.read_bytes() for path in scene.home.vault.iterdir()}
    with scene.appliance() as appliance:
        with pytest.raises(kind) as caught:
            act(appliance.box)
        assert said(appliance, event)[-1].outcome == "refused"
        log_is_whole(appliance)
    assert {path: path.read_bytes() for path in scene.home.vault.iterdir()} == before
    return caught.value


def test_the_last_slot_stays(scene: Scene) -> None:
    with scene.appliance() as appliance:
        first, last = keyslots.listing(appliance.box)
        keyslots.remove(appliance.box, first.id, ACTOR)
        with pytest.raises(UsageError, match="last slot"):
            keyslots.remove(appliance.box, last.id, ACTOR)
        assert said(appliance, Event.SLOT_REMOVED)[-1].outcome == "refused"
    assert opens(scene.home.vault, Recovery(scene.recovery)) and not opens(scene.home.vault, Passphrase(BOX_SECRET))


@pytest.mark.parametrize("id", ["0" * 16, "", "../keyring", "x" * 5000])
def test_an_unknown_slot_is_not_removed(scene: Scene, id: str) -> None:
    refused(scene, Event.SLOT_REMOVED, NotFound, lambda box: keyslots.remove(box, id, ACTOR))


@pytest.mark.parametrize(
    ("label", "unlock"),
    [("", STICK), ("x" * 65, STICK), ("a\nb", STICK), ("ward é", STICK), ("x", KeyFile(b"k")), ("x", Passphrase(b""))],
)
def test_what_makes_no_slot(scene: Scene, label: str, unlock: Unlock) -> None:
    refused(scene, Event.SLOT_ADDED, UsageError, lambda box: keyslots.add(box, label, unlock, ACTOR, cost=CHEAP))


def test_a_sealed_box_shows_its_slots_and_changes_none(scene: Scene) -> None:
    with scene.appliance() as appliance:
        known = keyslots.listing(appliance.box)
    box = Box(scene.home)
    try:
        assert keyslots.listing(box) == known
        with pytest.raises(Sealed):
            keyslots.add(box, "stick", STICK, ACTOR)
        with pytest.raises(Sealed):
            keyslots.remove(box, known[0].id, ACTOR)
    finally:
        box.close()


@pytest.mark.parametrize("sealed", [False, True])
def test_the_doctor_misses_a_recovery_key_and_the_slot_of_a_key_file(scene: Scene, sealed: bool) -> None:
    def said_of_keys() -> str:
        box = Box(scene.home)
        try:
            appliance = Appliance(box)
            if not sealed:
                appliance.unlock(Passphrase(BOX_SECRET), ACTOR)
            return " ".join(found.what for found in doctor.examine(appliance) if found.subject == "keys")
        finally:
            box.close()

    assert "recovery key" not in said_of_keys() and "key file" not in said_of_keys()
    stick = scene.folder / "stick"
    stick.write_bytes(STICK.secret)
    scene.home.settings.write_text(f'[vault]\nkey_file = "{stick}"\n')
    with scene.appliance() as appliance:
        keyslots.remove(appliance.box, keyslots.listing(appliance.box)[1].id, ACTOR)
    assert "No recovery key opens this box" in said_of_keys()
    assert "no slot is for one" in said_of_keys() and "lies on the disk" in said_of_keys()
    with scene.appliance() as appliance:
        keyslots.add(appliance.box, "stick", STICK, ACTOR)
        keyslots.add(appliance.box, "print", None, ACTOR)
    assert "recovery key" not in said_of_keys() and "no slot" not in said_of_keys()
