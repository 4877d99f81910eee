"""Installs that nobody finishes: seen by the doctor, given up by ``model remove``, and never for ever in the way."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lumen_box import errors
from lumen_box.atomic import Disk
from lumen_box.audit import Event
from lumen_box.bundle.medium import Medium
from lumen_box.catalogue import ModelName
from lumen_box.progress import Advance, silent
from lumen_box.progress import Event as Progress
from lumen_box.publisher.model import NewModel, describe_again
from lumen_box.usecases import describe, doctor, removal
from lumen_box.usecases.appliance import Appliance
from lumen_box.usecases.install import install
from lumen_box.usecases.purposes import CONTENT
from lumen_box.usecases.removal import Removed
from lumen_box.usecases.staging import unfinished
from lumen_box.vault.slots import Passphrase
from tests.support.crash import Crash, CrashingDisk
from tests.support.scene import ACTOR, BOX_SECRET, Scene
from tests.usecases.aftermath import names, outcomes, settled, sound, whole


def begin(scene: Scene, wanted: str = "clinical@1.0.0", share: float = 0.5, medium: Path | None = None) -> None:
    """An install that stops when that share of the model was copied."""

    def stop(event: Progress) -> None:
        if isinstance(event, Advance) and event.done >= event.total * share:
            raise Crash

    with pytest.raises(Crash):
        scene.install(medium, wanted, report=stop)


def remove(appliance: Appliance, model: str) -> Removed:
    return asyncio.run(removal.remove(appliance, ModelName.parse(model), ACTOR))


def warnings(appliance: Appliance, subject: str) -> list[str]:
    return [f"{found.what} {found.then}" for found in doctor.examine(appliance) if found.subject == subject]


def test_the_doctor_says_what_lies_there_and_how_to_be_rid_of_it(scene: Scene) -> None:
    begin(scene)
    with scene.appliance() as appliance:
        (said,) = warnings(appliance, "staging")
        assert "clinical@1.0.0 is not finished; it takes 266.0 kB" in said
        assert "`lumen-box model remove clinical@1.0.0`" in said
        assert remove(appliance, "clinical@1.0.0") == Removed("clinical", "1.0.0", installed=False)
        assert warnings(appliance, "staging") == []
        settled(appliance)
        assert outcomes(appliance, Event.MODEL_REMOVED) == ["done"]
        with pytest.raises(errors.NotFound):
            remove(appliance, "clinical@1.0.0")
    assert scene.install().fresh


def test_of_a_finished_install_nothing_is_said(scene: Scene) -> None:
    begin(scene)
    scene.install()
    with scene.appliance() as appliance:
        assert warnings(appliance, "staging") == warnings(appliance, "objects") == []


def test_what_is_installed_is_removed_before_what_is_not(scene: Scene) -> None:
    scene.install()
    scene.add("1.1.0")
    scene.export()
    begin(scene, "clinical@1.1.0")
    with scene.appliance() as appliance:
        assert remove(appliance, "clinical") == Removed("clinical", "1.0.0")
        assert [begun.claim.version for begun in unfinished(scene.home)] == ["1.1.0"]
        whole(appliance)
        assert remove(appliance, "demo-publisher/clinical") == Removed("clinical", "1.1.0", installed=False)
        settled(appliance)


def test_of_two_unfinished_installs_one_must_be_named(scene: Scene) -> None:
    scene.add("1.1.0")
    scene.export()
    begin(scene, "clinical@1.0.0")
    begin(scene, "clinical@1.1.0")
    with scene.appliance() as appliance:
        with pytest.raises(errors.UsageError, match=r"1\.[01]\.0, 1\.[01]\.0"):
            remove(appliance, "clinical")
        with pytest.raises(errors.NotFound):
            remove(appliance, "another/clinical")
        assert remove(appliance, "clinical@1.1.0").installed is False
        assert [begun.claim.version for begun in unfinished(scene.home)] == ["1.0.0"]


@pytest.fixture
def shared(scene: Scene) -> Scene:
    """1.0.0 is installed; 1.0.1 on the medium has the same weights."""
    scene.install()
    with scene.publisher() as workspace:
        describe_again(workspace, "clinical@1.0.0", NewModel("clinical", "1.0.1"))
    scene.export()
    return scene


def test_weights_that_two_versions_share_stay_until_both_are_removed(shared: Scene) -> None:
    assert shared.install(wanted="clinical@1.0.1").fresh, "it was not installed before, though nothing was copied"
    with shared.appliance() as appliance:
        remove(appliance, "clinical@1.0.0")
        settled(appliance)
        sound(appliance, "clinical@1.0.1")
        remove(appliance, "clinical@1.0.1")
        settled(appliance)
        assert appliance.box.vault.ids(CONTENT) == []


def test_giving_up_an_install_leaves_the_weights_to_the_version_that_has_them(shared: Scene) -> None:
    """The copy on the box was damaged, so the install of 1.0.1 had begun to copy it again."""
    (path,) = shared.home.objects.iterdir()
    good = path.read_bytes()
    path.write_bytes(bytes(len(good)))
    begin(shared, "clinical@1.0.1", share=0.99)
    begin(shared, "clinical@1.0.1", share=0.5)
    with shared.appliance() as appliance:
        assert remove(appliance, "clinical@1.0.1") == Removed("clinical", "1.0.1", installed=False)
        path.write_bytes(good)
        settled(appliance)
        sound(appliance, "clinical@1.0.0")


def reserve_only(scene: Scene) -> None:
    staged = scene.home.staging / ("ab" * 16)
    staged.mkdir()
    (staged / "data").write_bytes(bytes(100_000))


def journal_spoilt(scene: Scene) -> None:
    begin(scene)
    next(scene.home.staging.rglob("journal")).write_bytes(b"{}")


def journal_only(scene: Scene) -> None:
    begin(scene)
    next(scene.home.staging.rglob("data")).unlink()


def arrived(scene: Scene) -> None:
    begin(scene)
    shutil.copytree(scene.home.staging, scene.folder / "kept")
    scene.install()
    shutil.copytree(scene.folder / "kept", scene.home.staging, dirs_exist_ok=True)
    next(scene.home.staging.rglob("data")).unlink()


def half_removed(scene: Scene) -> None:
    begin(scene)
    (staged,) = scene.home.staging.iterdir()
    staged.rename(staged.with_name(f".{staged.name}.12345678.removed"))


@pytest.mark.parametrize("leave", [reserve_only, journal_spoilt, journal_only, arrived, half_removed])
def test_what_nobody_can_go_on_from_is_cleared_at_the_next_start(scene: Scene, leave: Callable[[Scene], None]) -> None:
    leave(scene)
    assert any(scene.home.staging.iterdir())
    with scene.appliance() as appliance:
        settled(appliance)


def test_an_object_that_waits_for_its_manifest_is_kept(scene: Scene) -> None:
    """Killed between the two, an install of many gigabytes is not copied again; it can also be given up."""
    reached = 0
    while not any(scene.home.objects.iterdir()):
        reached += 1
        with pytest.raises(Crash):
            scene.install(disk=CrashingDisk(40 + reached))
    assert not list(scene.home.models.rglob("manifest.json"))
    other = scene.copy(scene.folder.with_name("other"))
    before = next(scene.home.objects.iterdir()).stat().st_ino
    with scene.appliance() as appliance:
        (said,) = warnings(appliance, "staging")
        assert "it takes 266.0 kB" in said
        assert warnings(appliance, "objects") == []
    assert scene.install().fresh
    assert next(scene.home.objects.iterdir()).stat().st_ino == before
    with other.appliance() as appliance:
        assert remove(appliance, "clinical@1.0.0").installed is False
        settled(appliance)
        assert appliance.box.vault.ids(CONTENT) == []


class Meddling(Disk):
    """Runs ``meddle`` when the staging folder of an install has been made and nothing is in it yet."""

    def __init__(self) -> None:
        self.meddle: Callable[[], None] = lambda: None

    def mkdir(self, path: Path) -> None:
        super().mkdir(path)
        if path.parent.name == "staging":
            self.meddle()


def test_a_box_sealed_and_opened_again_in_the_middle_leaves_the_install_alone(scene: Scene) -> None:
    disk, reopened = Meddling(), []
    with scene.appliance(disk) as appliance, Medium.open(scene.usb) as medium:

        def reopen() -> None:
            asyncio.run(appliance.seal(ACTOR))
            appliance.unlock(Passphrase(BOX_SECRET), ACTOR)
            reopened.append(True)

        disk.meddle = reopen
        assert install(appliance, medium, None, ACTOR, silent).fresh
        assert reopened == [True]
        settled(appliance)
        sound(appliance, "clinical@1.0.0")


def test_a_manifest_that_cannot_be_read_does_not_hide_its_model(scene: Scene) -> None:
    scene.install()
    path = next(scene.home.models.rglob("manifest.json"))
    path.write_bytes(b"\0" + path.read_bytes()[1:])
    broken = scene.copy(scene.folder.with_name("broken"))
    with scene.appliance() as appliance:
        assert [entry["state"] for entry in describe.listing(appliance)] == ["damaged"]
        (said,) = warnings(appliance, "objects")
        assert "belong to no model whose manifest can be read" in said
    scene.install()
    with scene.appliance() as appliance:
        settled(appliance)
        sound(appliance, "clinical@1.0.0")
    with broken.appliance() as appliance:
        remove(appliance, "clinical@1.0.0")
        assert names(appliance) == []
        settled(appliance)


def test_a_version_does_not_get_other_weights(scene: Scene) -> None:
    """A publisher that begins anew could sign other weights under a version that is installed."""
    scene.install()
    with scene.appliance() as appliance:
        (installed,) = appliance.box.catalogue.installed()
        other = "cd" * 16
        appliance.box.catalogue._db.table("models").update(installed.key, {"object": other})
    with scene.appliance() as appliance:
        assert appliance.box.catalogue.installed()[0].object == other
    with pytest.raises(errors.Untrusted, match="installed with other weights"):
        scene.install()
