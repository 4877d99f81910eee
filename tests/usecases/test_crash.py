"""Installing a model, killed, unplugged, full or failing at every operation of the disk.

Afterwards what was there before is whole, the log says what is unknown, and the same command run again finishes the
work. What cannot be followed operation by operation is SQLite, whose own files are taken as durable when they change.
"""

from __future__ import annotations

import errno
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from lumen_box.atomic import Disk
from lumen_box.audit import Event
from lumen_box.bundle.medium import Medium
from lumen_box.catalogue import ModelName
from lumen_box.progress import silent
from lumen_box.usecases.install import install
from tests.support.crash import fail_everywhere, stop_everywhere
from tests.support.power import cut_everywhere, kill_then_cut
from tests.support.scene import ACTOR
from tests.usecases.aftermath import (
    FAILURES,
    FOLLOWED,
    by_name,
    interrupted,
    outcomes,
    said_plainly,
    settled,
    sound,
    whole,
)
from tests.usecases.conftest import LATER, NEW, OLD, Stage


@dataclass(frozen=True)
class Installing:
    """The act under test, and what is looked at after it was stopped."""

    stage: Stage
    seen: Counter[str]

    def act(self, folder: Path, disk: Disk) -> None:
        self.stage.at(folder).install(wanted=NEW, disk=disk, now=LATER)

    def check(self, folder: Path, *_: object) -> None:
        scene = self.stage.at(folder)
        unfinished = interrupted(scene.home, Event.MODEL_INSTALLED)
        with scene.appliance(now=LATER) as appliance, Medium.open(scene.usb) as medium:
            whole(appliance)
            sound(appliance, OLD)
            told = outcomes(appliance, Event.MODEL_INSTALLED)
            assert not unfinished or told[-1] == "unknown"
            self.seen["unknown"] += unfinished
            result = install(appliance, medium, ModelName.parse(NEW), ACTOR, silent)
            self.seen["fresh" if result.fresh else "there"] += 1
            settled(appliance)
        self.done(folder)

    def done(self, folder: Path) -> None:
        """1.1.0 is installed beside 1.0.0, and the floors are where an undisturbed install takes them."""
        with self.stage.at(folder).appliance(now=LATER) as appliance:
            settled(appliance)
            sound(appliance, OLD, NEW)
            (publisher,) = appliance.publishers.all()
            assert appliance.publishers.floors(publisher).to_json() == self.stage.floors
            assert outcomes(appliance, Event.MODEL_INSTALLED)[-1] == "done"


@pytest.fixture
def installing(stage: Stage) -> Installing:
    return Installing(stage, Counter())


@pytest.mark.slow
@pytest.mark.parametrize("torn", [False, True])
def test_install_killed_at_every_operation(installing: Installing, tmp_path: Path, torn: bool) -> None:
    home = installing.stage.scene.home.root
    tried = stop_everywhere(home, tmp_path, installing.act, installing.check, torn=torn)
    print(f"killed at each of {tried} operations: {dict(installing.seen)}")
    assert tried >= 70
    assert installing.seen["fresh"] >= 40
    assert installing.seen["there"] >= 15
    assert installing.seen["unknown"] >= 60


@pytest.mark.slow
def test_install_with_the_power_cut_after_every_operation(installing: Installing, tmp_path: Path) -> None:
    home = installing.stage.scene.home.root
    operations, states = cut_everywhere(home, tmp_path, installing.act, installing.check, follow=FOLLOWED)
    print(f"power cut after each of {operations} operations, {states} states: {dict(installing.seen)}")
    assert operations >= 70
    assert states >= 90
    assert installing.seen["unknown"] >= 60


@pytest.mark.slow
def test_an_install_that_was_killed_and_then_finished_outlives_a_power_cut(
    installing: Installing, tmp_path: Path
) -> None:
    home = installing.stage.scene.home.root
    tried = kill_then_cut(home, tmp_path, installing.act, installing.done, follow=FOLLOWED)
    print(f"killed before each of {tried} fsyncs, finished, and unplugged")
    assert tried >= 30


@pytest.mark.slow
@pytest.mark.parametrize(("number", "operations"), FAILURES, ids=by_name(FAILURES))
def test_install_on_a_disk_that_fails(
    installing: Installing, tmp_path: Path, number: int, operations: frozenset[str]
) -> None:
    def check(folder: Path, error: Exception) -> None:
        said_plainly(error, number)
        installing.check(folder)

    home = installing.stage.scene.home.root
    tried = fail_everywhere(home, tmp_path, installing.act, check, errno=number, operations=operations)
    print(f"{errno.errorcode[number]} at each of {tried} operations: {dict(installing.seen)}")
    assert tried >= 50
    assert installing.seen["fresh"] >= 30
