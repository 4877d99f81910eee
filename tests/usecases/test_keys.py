"""The keys of a box: what is listed of them, what rotation changes, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lumen_box.audit import Event
from lumen_box.audit.events import Entry
from lumen_box.errors import Locked, LumenError, NoSpace, Sealed
from lumen_box.usecases import enrolment, keys
from lumen_box.usecases.appliance import Appliance
from lumen_box.usecases.box import Box
from lumen_box.usecases.purposes import CONTENT
from lumen_box.vault import store
from lumen_box.vault.slots import Passphrase, Recovery
from lumen_box.vault.vault import Vault
from tests.support.scene import ACTOR, BOX_SECRET, NOW, Scene
from tests.usecases.aftermath import log_is_whole, sound
from tests.usecases.conftest import LATER, OLD


def said(appliance: Appliance, event: Event) -> list[Entry]:
    return [entry for entry in appliance.box.audit.entries() if entry.event == event]


def test_every_key_is_listed_with_what_it_protects_and_since_when(scene: Scene) -> None:
    scene.install(now=LATER)
    with scene.appliance(now=LATER) as appliance:
        keys.rotate_kek(appliance.box, ACTOR)
        kek, identity, audit, recipient, content = keys.listing(appliance.box)
        exported = enrolment.export(appliance.box, ACTOR)
        (installed,) = appliance.box.catalogue.installed()
    first, second = NOW.strftime("%Y-%m-%dT%H:%M:%SZ"), LATER.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (kek.purpose, kek.fingerprint, kek.generation, kek.created) == ("kek", None, 2, second)
    assert (identity.purpose, identity.fingerprint, identity.created) == ("identity", exported.fingerprint.hex, first)
    assert (audit.purpose, audit.generation, audit.created) == ("audit", 1, first)
    assert recipient.fingerprint is not None and recipient.fingerprint in {
        path.name for path in scene.usb.rglob("recipients/*")
    }
    assert (content.id, content.protects, content.created) == (installed.object, "clinical@1.0.0", second)


def test_the_list_holds_nothing_secret(scene: Scene) -> None:
    scene.install()
    with scene.appliance() as appliance:
        listed = str([key.to_json() for key in keys.listing(appliance.box)])
        (content,) = appliance.box.vault.ids(CONTENT)
        assert content in listed
        assert appliance.box.vault.get(CONTENT, content).hex() not in listed


def test_rotation_leaves_every_slot_every_key_and_every_object(scene: Scene) -> None:
    scene.install()
    objects = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in scene.home.objects.iterdir()}
    assert objects
    with scene.appliance() as appliance:
        before = [key for key in keys.listing(appliance.box) if key.purpose != "kek"]
        rotated = keys.rotate_kek(appliance.box, ACTOR)
        assert (rotated.generation, rotated.slots) == (2, 2)
        assert rotated.secrets >= len(before)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in scene.home.objects.iterdir()} == objects
    for unlock in (Passphrase(BOX_SECRET), Recovery(scene.recovery)):
        assert Vault.open(scene.home.vault, unlock).generation == 2
    with scene.appliance() as appliance:
        assert [key for key in keys.listing(appliance.box) if key.purpose != "kek"] == before
        sound(appliance, OLD)
        log_is_whole(appliance)
        intent, outcome = said(appliance, Event.KEK_ROTATED)
        assert (intent.phase, intent.actor, intent.detail) == ("intent", ACTOR, {"generation": 1})
        assert (outcome.outcome, outcome.detail) == ("done", {"generation": 2})


@pytest.mark.parametrize("act", [keys.listing, lambda box: keys.rotate_kek(box, ACTOR)])
def test_a_sealed_box_shows_and_changes_nothing(scene: Scene, act: Callable[[Box], object]) -> None:
    before = {path: path.read_bytes() for path in scene.home.vault.iterdir()}
    box = Box(scene.home)
    try:
        with pytest.raises(Sealed) as caught:
            act(box)
        assert caught.value.exit_code == 12 and caught.value.then
    finally:
        box.close()
    assert {path: path.read_bytes() for path in scene.home.vault.iterdir()} == before


def test_only_one_administrative_act_at_a_time(scene: Scene) -> None:
    with scene.appliance() as appliance, appliance.box.administration(), pytest.raises(Locked):
        keys.rotate_kek(appliance.box, ACTOR)


def test_a_rotation_that_fails_after_it_counts_is_recorded_as_what_holds(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch = store.switch

    def half(disk: object, folder: Path, name: str) -> None:
        if name == store.COPIES[1]:
            raise NoSpace("Replacing the copy failed.")
        switch(disk, folder, name)  # type: ignore[arg-type]

    with scene.appliance() as appliance:
        monkeypatch.setattr(store, "switch", half)
        with pytest.raises(NoSpace):
            keys.rotate_kek(appliance.box, ACTOR)
        monkeypatch.undo()
        assert appliance.box.vault.generation == 2
        log_is_whole(appliance)
        assert said(appliance, Event.KEK_ROTATED)[-1].detail == {"generation": 2, "code": "no_space"}


def test_sealing_in_the_middle_neither_loses_the_record_nor_the_rotation(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotate = Vault.rotate_kek

    def sealed_at_once(vault: Vault) -> int:
        done = rotate(vault)
        vault.close()
        return done

    with scene.appliance() as appliance:
        monkeypatch.setattr(Vault, "rotate_kek", sealed_at_once)
        assert keys.rotate_kek(appliance.box, ACTOR).generation == 2
        assert said(appliance, Event.KEK_ROTATED)[-1].outcome == "done"
    with scene.appliance() as appliance:
        log_is_whole(appliance)


def test_a_repaired_copy_of_the_keyring_is_in_the_log(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    with scene.appliance() as appliance:
        assert said(appliance, Event.KEYRING_REPAIRED) == []
    second = scene.home.vault / store.COPIES[1]
    second.write_bytes(second.read_bytes()[:-1])
    with scene.appliance() as appliance:
        (repaired,) = said(appliance, Event.KEYRING_REPAIRED)
        assert repaired.actor == "box" and str(repaired.detail["what"]).startswith("keyring.b cannot be used")
        assert "keyring.b" in caplog.text
    with scene.appliance() as appliance:
        assert len(said(appliance, Event.KEYRING_REPAIRED)) == 1, "it was mended"


def test_errors_of_a_full_log_come_before_anything_is_changed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with scene.appliance() as appliance:

        def full(*_: object, **__: object) -> int:
            raise NoSpace("Writing the log failed: the disk is full.")

        monkeypatch.setattr(appliance.box.audit, "_append", full)
        with pytest.raises(LumenError):
            keys.rotate_kek(appliance.box, ACTOR)
        assert appliance.box.vault.generation == 1
