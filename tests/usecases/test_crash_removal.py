"""Removing a model, killed, unplugged, full or failing at every operation: what cannot be used never looks whole."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from lumen_box.atomic import Disk
from lumen_box.audit import Event
from lumen_box.catalogue import ModelName
from lumen_box.errors import Damaged, NotFound
from lumen_box.usecases import describe, removal
from lumen_box.usecases.appliance import Appliance
from tests.support.crash import fail_everywhere, stop_everywhere
from tests.support.power import cut_everywhere, kill_then_cut
from tests.support.scene import ACTOR
from tests.usecases.aftermath import (
    FAILURES,
    FOLLOWED,
    by_name,
    interrupted,
    names,
    outcomes,
    said_plainly,
    settled,
    sound,
    whole,
)
from tests.usecases.conftest import LATER, NEW, OLD, Stage


def remove(appliance: Appliance, model: str) -> None:
    asyncio.run(removal.remove(appliance, ModelName.parse(model), ACTOR))


@dataclass(frozen=True)
class Removing:
    """1.1.0, which is active, stays; 1.0.0 goes, or comes back from its medium."""

    stage: Stage
    seen: Counter[str]
    again: str = "remove"

    def act(self, folder: Path, disk: Disk) -> None:
        with self.stage.at(folder).appliance(disk, LATER) as appliance, suppress(NotFound):
            remove(appliance, OLD)

    def check(self, folder: Path, *_: object) -> None:
        scene = self.stage.at(folder)
        unfinished = interrupted(scene.home, Event.MODEL_REMOVED)
        with scene.appliance(now=LATER) as appliance:
            whole(appliance)
            sound(appliance, NEW)
            self.look(appliance)
            assert not unfinished or outcomes(appliance, Event.MODEL_REMOVED)[-1] == "unknown"
            self.seen["unknown"] += unfinished
        if self.again == "remove":
            self.act(folder, Disk())
            self.done(folder)
        else:
            scene.install(wanted=OLD, now=LATER)
            with scene.appliance(now=LATER) as appliance:
                settled(appliance)
                sound(appliance, OLD, NEW)

    def look(self, appliance: Appliance) -> None:
        """1.0.0 is whole, or gone, or in between and said to be so: never whole to look at and not to use."""
        state = {f"{e['name']}@{e['version']}": e["state"] for e in describe.listing(appliance)}.get(OLD, "gone")
        self.seen[state] += 1
        if state == "damaged":
            with pytest.raises(Damaged, match=r"clinical@1\.0\.0"):
                sound(appliance, OLD)
        elif state != "gone":
            sound(appliance, OLD)

    def done(self, folder: Path) -> None:
        with self.stage.at(folder).appliance(now=LATER) as appliance:
            settled(appliance)
            sound(appliance, NEW)
            assert names(appliance) == [NEW]
            active = appliance.box.catalogue.active()
            assert [(entry.name, entry.version) for entry in active] == [("clinical", "1.1.0")]


@pytest.fixture
def removing(stage: Stage) -> Removing:
    return Removing(stage, Counter())


@pytest.mark.slow
@pytest.mark.parametrize(("torn", "again"), [(False, "remove"), (True, "remove"), (False, "install")])
def test_remove_killed_at_every_operation(stage: Stage, tmp_path: Path, torn: bool, again: str) -> None:
    removing = Removing(stage, Counter(), again)
    tried = stop_everywhere(stage.both, tmp_path, removing.act, removing.check, torn=torn)
    print(f"killed at each of {tried} operations, then {again}: {dict(removing.seen)}")
    assert tried >= 40
    assert removing.seen["installed"] >= 15
    assert removing.seen["damaged"] >= 5
    assert removing.seen["unknown"] >= 25


@pytest.mark.slow
def test_remove_with_the_power_cut(removing: Removing, tmp_path: Path) -> None:
    both = removing.stage.both
    operations, states = cut_everywhere(both, tmp_path, removing.act, removing.check, follow=FOLLOWED)
    twice = kill_then_cut(both, tmp_path, removing.act, removing.done, follow=FOLLOWED)
    print(f"power cut after each of {operations} operations, {states} states, {twice} of them after a kill")
    assert operations >= 40
    assert states >= 60
    assert twice >= 15


@pytest.mark.slow
@pytest.mark.parametrize(("number", "operations"), FAILURES, ids=by_name(FAILURES))
def test_remove_on_a_disk_that_fails(
    removing: Removing, tmp_path: Path, number: int, operations: frozenset[str]
) -> None:
    def check(folder: Path, error: Exception) -> None:
        said_plainly(error, number)
        removing.check(folder)

    tried = fail_everywhere(removing.stage.both, tmp_path, removing.act, check, errno=number, operations=operations)
    print(f"{errno.errorcode[number]} at each of {tried} operations: {dict(removing.seen)}")
    assert tried >= 20
