"""Power cuts, economically: every state that a cut can leave is looked at once, and cuts that follow a kill.

``lossy`` says what is durable, ``crash.lose_everywhere`` replays every loss after every operation. An act of a hundred
operations leaves the same state again and again: what is left with all names and bytes dropped that were not fsynced
changes only where something is fsynced, and so on (:data:`CHANGES`).

A cut after a kill is worse than either. The killed process leaves names that are visible but not durable; the next one
finds them, believes them, reports success, and only then the power goes.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lumen_box.atomic import Disk
from tests.support.crash import Act, Crash, CrashingDisk
from tests.support.lossy import Loss, RecordingDisk

OUTSIDE = frozenset({"outside", "outside_gone"})
CHANGES = {  # after which operations another state may be left, by what is dropped
    Loss.ALL: OUTSIDE | {"fsync", "fsync_dir"},
    Loss.DATA: OUTSIDE | {"fsync", "mkdir", "create", "rename", "unlink", "remove_tree"},
    Loss.NAMES: OUTSIDE | {"fsync_dir", "write", "allocate"},
}
SYNCING = frozenset({"fsync", "fsync_dir"})


def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the kernel's own fsync: a kill loses nothing of the page cache, and a replay asks the recording."""
    monkeypatch.setattr(Disk, "fsync", lambda self, fd: None)
    monkeypatch.setattr(Disk, "fsync_dir", lambda self, path: None)


class _StoppedRecording(CrashingDisk, RecordingDisk):
    """Records, and dies just before its ``at``-th fsync, when most of what is visible is not durable."""

    def __init__(self, at: int, root: Path, follow: tuple[str, ...]) -> None:
        CrashingDisk.__init__(self, at)
        RecordingDisk.__init__(self, root, follow)

    def reached(self, name: str, half: Callable[[], None] | None = None) -> None:
        if name in SYNCING or self.count >= self.at:
            super().reached(name)

    def revive(self) -> None:
        self.at = self.count + 1_000_000


def cut_everywhere(
    template: Path,
    workspace: Path,
    act: Act,
    check: Callable[[Path, int], None],
    *,
    follow: tuple[str, ...] = (),
) -> tuple[int, int]:
    """Runs ``act`` once, and gives ``check`` every state that a power cut can leave, with how many operations were
    done. Returns the number of operations, and of states looked at."""
    place = _copied(template, workspace, "cut")
    disk = RecordingDisk(place / template.name, follow)
    act(place / template.name, disk)
    states = 0
    for done in range(disk.operations + 1):
        for loss, operations in CHANGES.items():
            if done and disk.log[done - 1][0] not in operations:
                continue
            left = place / f"left-{done}-{loss.value}" / template.name
            left.parent.mkdir()
            disk.replay(left, done, loss)
            check(left, done)
            shutil.rmtree(left.parent)
            states += 1
    return disk.operations, states


def kill_then_cut(
    template: Path,
    workspace: Path,
    act: Act,
    check: Callable[[Path], None],
    *,
    follow: tuple[str, ...] = (),
) -> int:
    """Kills ``act`` before each fsync in turn, runs it again to its end, cuts the power with everything dropped that
    was not fsynced, and lets ``check`` see that what was reported as done is done. Returns the number of kills."""
    for at in range(1, 100_000):
        place = _copied(template, workspace, "twice")
        folder, left = place / template.name, place / "left" / template.name
        disk, killed = _StoppedRecording(at, folder, follow), True
        with contextlib.suppress(Crash):
            act(folder, disk)
            killed = False
        if killed:
            disk.revive()
            act(folder, disk)
        left.parent.mkdir()
        disk.replay(left, disk.operations, Loss.ALL)
        check(left)
        shutil.rmtree(place)
        if not killed:
            return at - 1
    raise AssertionError("the act never ends")


def _copied(template: Path, workspace: Path, tag: str) -> Path:
    workspace.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=f"{tag}-", dir=workspace))
    shutil.copytree(template, place / template.name)
    return place
