"""Installing from a sound medium: what is there afterwards, and that it can be repeated and resumed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lumen_box.audit import Event
from lumen_box.errors import Locked, NoSpace, UsageError
from lumen_box.progress import Advance, silent
from lumen_box.progress import Event as Progress
from lumen_box.usecases import describe
from tests.support.crash import FailingDisk
from tests.support.scene import ACTOR, Scene


def installed(scene: Scene) -> list[str]:
    with scene.appliance() as appliance:
        return [f"{entry['name']}@{entry['version']}" for entry in describe.listing(appliance)]


def test_a_model_is_installed_once_and_found_whole(scene: Scene) -> None:
    result = scene.install()
    assert (result.installed.name, result.installed.version, result.fresh) == ("clinical", "1.0.0", True)
    assert installed(scene) == ["clinical@1.0.0"]
    with scene.appliance() as appliance:
        from lumen_box.catalogue import ModelName

        assert describe.verify(appliance, ModelName("clinical"), ACTOR, silent).version == "1.0.0"
    assert scene.install().fresh is False
    assert installed(scene) == ["clinical@1.0.0"]
    assert not any(scene.home.staging.iterdir())


def test_what_is_stored_is_the_ciphertext_as_it_came(scene: Scene) -> None:
    result = scene.install()
    parts = sorted(scene.usb.rglob("part-*"))
    assert len(parts) >= 3
    assert (scene.home.objects / result.installed.object).read_bytes() == b"".join(p.read_bytes() for p in parts)


def test_everything_in_the_home_is_private(scene: Scene) -> None:
    scene.install()
    modes = {path: path.stat().st_mode & 0o077 for path in [scene.home.root, *scene.home.root.rglob("*")]}
    assert len(modes) > 15
    assert {path for path, open_to in modes.items() if open_to} == set()


def test_the_only_model_on_a_medium_needs_no_name(scene: Scene) -> None:
    assert scene.install(wanted=None).installed.version == "1.0.0"
    scene.add("1.1.0")
    scene.export()
    with pytest.raises(UsageError, match=r"clinical@1\.0\.0.*clinical@1\.1\.0"):
        scene.install(wanted=None)


class Stopped(BaseException):
    """What Ctrl-C is to an install."""


def test_an_interrupted_install_goes_on_where_it_was(scene: Scene) -> None:
    reached: list[int] = []

    def stop_half_way(event: Progress) -> None:
        if isinstance(event, Advance):
            reached.append(event.done)
            if event.done > event.total / 2:
                raise Stopped

    with pytest.raises(Stopped):
        scene.install(report=stop_half_way)
    assert installed(scene) == []
    written = reached[-1]

    def only_the_rest(event: Progress) -> None:
        if isinstance(event, Advance):
            reached.append(event.done)

    journal = next(scene.home.staging.rglob("journal")).read_bytes()
    assert b'"segments":' in journal
    reached.clear()
    before = {path: path.stat().st_mtime_ns for path in scene.home.staging.rglob("data")}
    scene.install(report=only_the_rest)
    assert before
    assert reached[0] < written, "what was staged is read again and checked"
    assert installed(scene) == ["clinical@1.0.0"]


def test_damaged_staging_is_noticed_and_copied_again(scene: Scene) -> None:
    def stop_at_the_end(event: Progress) -> None:
        if isinstance(event, Advance) and event.done == event.total:
            raise Stopped

    with pytest.raises(Stopped):
        scene.install(report=stop_at_the_end)
    data = next(scene.home.staging.rglob("data"))
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    scene.install()
    assert installed(scene) == ["clinical@1.0.0"]


def test_two_media_and_in_any_order(scene: Scene, tmp_path: Path) -> None:
    from lumen_box.errors import PartMissing

    first, second = scene.export(tmp_path / "sticks", capacity=320_000)
    with pytest.raises(PartMissing, match="part-0001"):
        scene.install(second)
    with pytest.raises(PartMissing) as missing:
        scene.install(first)
    assert missing.value.exit_code == 26
    assert "segments are kept" in missing.value.kept
    assert scene.install(second).fresh
    assert installed(scene) == ["clinical@1.0.0"]


def test_a_full_disk_refuses_before_anything_is_copied(scene: Scene) -> None:
    import errno

    disk = FailingDisk(errno.ENOSPC, 1, frozenset({"allocate"}))
    with pytest.raises(NoSpace, match="no room for the model") as full:
        scene.install(disk=disk)
    assert full.value.exit_code == 23
    assert list(scene.home.staging.rglob("data")) == []
    scene.install()
    assert installed(scene) == ["clinical@1.0.0"]


def test_two_installs_at_once(scene: Scene) -> None:
    """In one gateway the second is told to wait; in another process it does not even get the box."""
    tried: list[BaseException] = []

    def install_again(event: Progress) -> None:
        if tried:
            return
        tried.append(Locked("none raised"))
        try:
            scene.install()
        except Locked as error:
            tried[0] = error

    scene.install(report=install_again)
    assert "Another process works on this box" in str(tried[0])

    from lumen_box.bundle.medium import Medium
    from lumen_box.catalogue import ModelName
    from lumen_box.usecases.install import install

    with (
        scene.appliance() as appliance,
        Medium.open(scene.usb) as medium,
        appliance.box.administration(),
        pytest.raises(Locked, match="Another administrative command"),
    ):
        install(appliance, medium, ModelName("clinical"), ACTOR, silent)


def test_the_log_tells_what_was_done(scene: Scene) -> None:
    scene.install()
    with scene.appliance() as appliance:
        told = [
            (entry.phase, entry.outcome, entry.detail.get("version"))
            for entry in appliance.box.audit.entries()
            if entry.event == Event.MODEL_INSTALLED
        ]
    assert told == [("intent", None, None), ("outcome", "done", "1.0.0")]


def test_no_descriptor_is_left_open(scene: Scene) -> None:
    scene.install()
    before = set(os.listdir("/proc/self/fd"))
    scene.install()
    assert len(set(os.listdir("/proc/self/fd"))) <= len(before)
