"""What the setting ``engine.sandbox`` asks for is what engines get, or they do not start: on a kernel that refuses
namespaces, and on this one."""

from __future__ import annotations

import asyncio

import pytest

from lumen_box import errors
from lumen_box.catalogue import ModelName
from lumen_box.launcher import Confinement, process
from lumen_box.progress import silent
from lumen_box.usecases import activate, doctor
from lumen_box.usecases.appliance import Appliance
from tests.support.scene import ACTOR, STRICT, Scene


@pytest.fixture
def no_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses namespaces from now on; Landlock and the filter are real."""
    real = process._attempt

    def attempt(program: process.Program, view: process.View, least: Confinement) -> process.Child:
        if least.namespaces:
            raise process._Refused("unshare: not permitted")
        return real(program, view, least)

    monkeypatch.setattr(process, "_attempt", attempt)


async def start(appliance: Appliance) -> None:
    try:
        await activate.activate(appliance, ModelName("clinical"), ACTOR, silent)
    finally:
        await appliance.models.close()


def seen(scene: Scene) -> tuple[str, str]:
    with scene.appliance() as appliance:
        (found,) = [found for found in doctor.examine(appliance) if found.subject == "sandbox"]
        return found.level, found.what


def test_where_it_is_required_and_not_to_be_had_no_engine_starts(scene: Scene, request: pytest.FixtureRequest) -> None:
    scene.install()
    assert (scene.home.root / "settings.toml").read_text() == STRICT
    level, what = seen(scene)
    assert level == "good"
    assert "The settings require namespaces, seccomp." in what

    request.getfixturevalue("no_namespaces")
    with scene.appliance() as appliance, pytest.raises(errors.NotAllowed, match="refuses namespaces") as refused:
        asyncio.run(start(appliance))
    with scene.appliance() as appliance, pytest.raises(errors.NotAllowed):
        asyncio.run(appliance.models.starter.grammars.of_text('root ::= "a"', ACTOR))
    assert (refused.value.exit_code, refused.value.kept) == (errors.NotAllowed.exit_code, "Nothing was started.")
    level, what = seen(scene)
    assert level == "bad"
    assert "No engine starts." in what


def test_the_best_there_is_will_do_where_nothing_is_required(scene: Scene, no_namespaces: None) -> None:
    (scene.home.root / "settings.toml").unlink()
    scene.install()
    with scene.appliance() as appliance:
        asyncio.run(start(appliance))
    level, what = seen(scene)
    assert level == "warning"
    assert "The settings take the best there is." in what
