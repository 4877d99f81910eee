"""The tools that test durability must themselves notice what is not durable."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lumen_box.atomic import Disk, make_dir, publish, remove, write_file
from lumen_box.errors import NoSpace
from tests.support.crash import (
    Act,
    CrashingDisk,
    FailingDisk,
    Loss,
    RecordingDisk,
    fail_everywhere,
    lose_everywhere,
    stop_everywhere,
)

OLD, NEW = b"old" * 1000, b"new" * 1000


@pytest.fixture
def template(tmp_path: Path) -> Path:
    folder = tmp_path / "template"
    folder.mkdir()
    (folder / "file").write_bytes(OLD)
    return folder


def careful(folder: Path, disk: Disk) -> None:
    write_file(disk, folder / "file", NEW)


def without_fsync(folder: Path, disk: Disk) -> None:
    fd = disk.create(folder / "next")
    disk.write(fd, NEW, 0)
    os.close(fd)
    disk.rename(folder / "next", folder / "file")
    disk.fsync_dir(folder)


def in_place(folder: Path, disk: Disk) -> None:
    fd = disk.open(folder / "file")
    disk.write(fd, NEW, 0)
    disk.fsync(fd)
    os.close(fd)


def shredded_too_early(folder: Path, disk: Disk) -> None:
    old, new = disk.open(folder / "file"), disk.create(folder / "next")
    disk.write(new, NEW, 0)
    disk.fsync(new)
    disk.rename(folder / "next", folder / "file")
    disk.write(old, bytes(len(OLD)), 0)
    disk.fsync(old)
    disk.fsync_dir(folder)
    os.close(old)
    os.close(new)


def whole(folder: Path) -> None:
    assert (folder / "file").read_bytes() in (OLD, NEW)


def test_a_careful_write_survives_every_stop_and_every_power_cut(template: Path, tmp_path: Path) -> None:
    assert stop_everywhere(template, tmp_path, careful, whole) == 5
    assert stop_everywhere(template, tmp_path, careful, whole, torn=True) == 5
    assert lose_everywhere(template, tmp_path, careful, whole) == 5


@pytest.mark.parametrize("act", [without_fsync, shredded_too_early])
def test_what_is_done_before_it_is_durable_is_caught(act: Act, template: Path, tmp_path: Path) -> None:
    stop_everywhere(template, tmp_path, act, whole)
    with pytest.raises(AssertionError):
        lose_everywhere(template, tmp_path, act, whole)


def test_a_write_in_place_is_caught_when_torn(template: Path, tmp_path: Path) -> None:
    assert stop_everywhere(template, tmp_path, in_place, whole) == 3
    with pytest.raises(AssertionError):
        stop_everywhere(template, tmp_path / "torn", in_place, whole, torn=True)


def test_replay_knows_names_from_bytes(template: Path, tmp_path: Path) -> None:
    disk = RecordingDisk(template)
    make_dir(disk, template / "staged")
    write_file(disk, template / "staged" / "a", NEW)
    publish(disk, template / "staged", template / "final")
    remove(disk, template / "file")
    for loss in Loss:
        disk.replay(tmp_path / loss.value, disk.operations, loss)
        assert (tmp_path / loss.value / "final" / "a").read_bytes() == NEW
        assert not (tmp_path / loss.value / "file").exists()
    fd = disk.create(template / "late")
    disk.write(fd, b"x", 3)
    os.close(fd)
    for loss, expected in ((Loss.NOTHING, b"\0\0\0x"), (Loss.DATA, b""), (Loss.NAMES, None), (Loss.ALL, None)):
        left = tmp_path / f"late-{loss.value}"
        disk.replay(left, disk.operations, loss)
        late = left / "late"
        assert (late.read_bytes() if late.exists() else None) == expected


def test_files_written_by_others_are_followed(template: Path, tmp_path: Path) -> None:
    disk = RecordingDisk(template, follow=("base.db",))
    (template / "base.db").write_bytes(b"one")
    disk.mkdir(template / "folder")
    disk.replay(tmp_path / "left", disk.operations, Loss.ALL)
    assert (tmp_path / "left" / "base.db").read_bytes() == b"one"
    assert not (tmp_path / "left" / "folder").exists()


def test_a_full_disk_stays_full_and_is_said_plainly(template: Path, tmp_path: Path) -> None:
    def check(folder: Path, error: Exception) -> None:
        assert isinstance(error, NoSpace)
        whole(folder)
        assert [entry.name for entry in folder.iterdir()] == ["file"]

    assert fail_everywhere(template, tmp_path, careful, check, errno=errno.ENOSPC) == 4
    disk = FailingDisk(errno.ENOSPC, 2)
    disk.mkdir(tmp_path / "one")
    for name in ("two", "three"):
        with pytest.raises(OSError, match="space"):
            disk.mkdir(tmp_path / name)


def test_an_error_that_nobody_reports_is_caught(template: Path, tmp_path: Path) -> None:
    def careless(folder: Path, disk: Disk) -> None:
        try:
            careful(folder, disk)
        except OSError:
            return

    with pytest.raises(AssertionError, match="nobody said so"):
        fail_everywhere(template, tmp_path, careless, lambda *_: None, errno=errno.EIO)


def test_a_dead_disk_does_nothing_more(template: Path) -> None:
    disk = CrashingDisk(2)
    disk.mkdir(template / "one")
    for _ in range(2):
        with pytest.raises(BaseException, match="stopped at operation 2"):
            disk.mkdir(template / "two")
    assert not (template / "two").exists()
