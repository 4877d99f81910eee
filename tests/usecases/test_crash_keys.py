"""Changing keys and slots, killed, unplugged, full or failing at every operation: it opens as before or as after."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from lumen_box.atomic import Disk
from lumen_box.audit import Event
from lumen_box.errors import NotFound, WrongKey
from lumen_box.usecases import keys, keyslots
from lumen_box.usecases.appliance import Appliance
from lumen_box.usecases.box import Box
from lumen_box.vault.slots import KeyFile, Passphrase, Recovery
from lumen_box.vault.vault import Vault
from tests.support.crash import fail_everywhere, stop_everywhere
from tests.support.power import cut_everywhere
from tests.support.scene import ACTOR, Scene, make_scene
from tests.usecases.aftermath import (
    FAILURES,
    FOLLOWED,
    by_name,
    interrupted,
    outcomes,
    said_plainly,
    sound,
    whole,
)
from tests.usecases.conftest import OLD, Placed

STICK = KeyFile(b"s" * 64)


@dataclass(frozen=True)
class Changing:
    """``change`` done to a box with one model and two slots; ``state`` of it is 0 before and 1 after."""

    scene: Scene
    change: Callable[[Box], object]
    event: Event
    state: Callable[[Vault], int]
    seen: Counter[int]

    def at(self, folder: Path) -> Placed:
        return Placed(self.scene.folder, box=folder)

    def act(self, folder: Path, disk: Disk) -> None:
        with self.at(folder).appliance(disk) as appliance:
            self.change(appliance.box)

    def check(self, folder: Path, *_: object) -> None:
        unfinished = interrupted(self.at(folder).home, self.event)
        with self.at(folder).appliance() as appliance:
            whole(appliance)
            sound(appliance, OLD)
            self.seen[self.state(appliance.box.vault)] += 1
            assert not unfinished or outcomes(appliance, self.event)[-1] == "unknown"
            self.opens(appliance)
            self.change(appliance.box)
            whole(appliance)
            sound(appliance, OLD)
        with self.at(folder).appliance() as appliance:
            assert self.state(appliance.box.vault) >= 1
            sound(appliance, OLD)

    def opens(self, appliance: Appliance) -> None:
        """The printed recovery key opens what is there as well; the key file does exactly while it has a slot."""
        folder, there = appliance.box.home.vault, appliance.box.vault.slots
        vault = Vault.open(folder, Recovery(self.scene.recovery))
        assert (vault.sequence, vault.repairs) == (appliance.box.vault.sequence, ())
        assert [slot.kind for slot in there[:2]] == [Passphrase.kind, Recovery.kind]
        with nullcontext() if there[2:] else pytest.raises(WrongKey):
            Vault.open(folder, STICK)


def rotated(scene: Scene) -> Changing:
    return Changing(
        scene, lambda box: keys.rotate_kek(box, ACTOR), Event.KEK_ROTATED, lambda vault: vault.generation - 1, Counter()
    )


def slot_added(scene: Scene) -> Changing:
    def add(box: Box) -> None:
        keyslots.add(box, "stick", STICK, ACTOR)

    return Changing(scene, add, Event.SLOT_ADDED, lambda vault: len(vault.slots) - 2, Counter())


def slot_removed(scene: Scene) -> Changing:
    with scene.appliance() as appliance:
        stick = keyslots.add(appliance.box, "stick", STICK, ACTOR).slot.id

    def remove(box: Box) -> None:
        with suppress(NotFound):  # it was removed before the process was stopped
            keyslots.remove(box, stick, ACTOR)

    return Changing(scene, remove, Event.SLOT_REMOVED, lambda vault: 3 - len(vault.slots), Counter())


CHANGES = {"rotate kek": rotated, "add a slot": slot_added, "remove a slot": slot_removed}


@pytest.fixture(scope="module")
def installed(small: None, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    scene = make_scene(tmp_path_factory.mktemp("keys") / "scene")
    scene.install()
    return scene


@pytest.fixture(params=CHANGES.values(), ids=CHANGES.keys())
def changing(installed: Scene, request: pytest.FixtureRequest, tmp_path: Path) -> Changing:
    made: Changing = request.param(installed.copy(tmp_path / "scene"))
    return made


def test_killed_in_the_middle_of_every_operation(changing: Changing, tmp_path: Path) -> None:
    tried = stop_everywhere(changing.scene.home.root, tmp_path, changing.act, changing.check, torn=True)
    print(f"killed at each of {tried} operations: {dict(changing.seen)}")
    assert tried >= 20
    assert min(changing.seen[0], changing.seen[1]) >= 5


def test_with_the_power_cut(changing: Changing, tmp_path: Path) -> None:
    home = changing.scene.home.root
    operations, states = cut_everywhere(home, tmp_path, changing.act, changing.check, follow=FOLLOWED)
    print(f"power cut after each of {operations} operations, {states} states: {dict(changing.seen)}")
    assert operations >= 20
    assert states >= 20
    assert min(changing.seen[0], changing.seen[1]) >= 5


@pytest.mark.parametrize(("number", "operations"), FAILURES, ids=by_name(FAILURES))
def test_on_a_disk_that_fails(changing: Changing, tmp_path: Path, number: int, operations: frozenset[str]) -> None:
    def check(folder: Path, error: Exception) -> None:
        said_plainly(error, number)
        changing.check(folder)

    home = changing.scene.home.root
    tried = fail_everywhere(home, tmp_path, changing.act, check, errno=number, operations=operations)
    print(f"{errno.errorcode[number]} at each of {tried} operations: {dict(changing.seen)}")
    assert tried >= 10
