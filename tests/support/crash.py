"""Disks that stop, fail or forget, for every test of "killed at any moment".

    CrashingDisk(at=N)           the process dies just before operation N; with ``torn`` half of operation N is done
    FailingDisk(errno, at=N)     the kernel answers operation N with ENOSPC, EIO, …
    RecordingDisk(root)          everything works; ``replay`` shows what a power cut would have left (see ``lossy``)

and three drivers that do it at every operation. Each takes a ``template`` folder that is copied for every try, an
``act(folder, disk)`` that is the change under test, and a ``check(folder, …)`` that opens the folder again as the
next process would, finishes or undoes the change, and asserts that the result is whole. Each returns the number of
operations tried, which the test prints and holds against a least number, so that an act that came to bypass the disk
cannot pass unnoticed:

    tried = stop_everywhere(template, tmp_path, act, check)
    print(f"stopped at each of {tried} operations")
    assert tried >= 40

``Crash`` is a BaseException: no handler of errors can swallow it, as none can swallow SIGKILL. Once it was raised the
disk is dead and refuses every further operation, so that clean-up in a ``finally`` does nothing either.

None of these disks waits for the platter: what an fsync would have kept is known from the log, and a kill loses
nothing that the kernel has. ``QuickDisk`` is the same for a ``check`` that does much work of its own.
"""

from __future__ import annotations

import contextlib
import errno as errors
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from lumen_box.atomic import Disk
from lumen_box.errors import LumenError
from tests.support.lossy import Loss, QuickDisk, RecordingDisk

__all__ = [
    "GROWING",
    "Crash",
    "CrashingDisk",
    "FailingDisk",
    "Loss",
    "QuickDisk",
    "RecordingDisk",
    "fail_everywhere",
    "lose_everywhere",
    "stop_everywhere",
]

GROWING = frozenset({"mkdir", "create", "write", "allocate", "fsync", "rename"})  # what a full disk refuses
_MOST = 100_000


class Crash(BaseException):
    """The process is gone."""


class _WatchedDisk(QuickDisk):
    """Calls :meth:`reached` with the operation's name before each operation; ``count`` is how many there were."""

    def __init__(self) -> None:
        self.count = 0

    def reached(self, name: str, half: Callable[[], None] | None = None) -> None:
        """``half`` does a part of the operation, where there is such a thing."""
        self.count += 1

    def mkdir(self, path: Path) -> None:
        self.reached("mkdir")
        super().mkdir(path)

    def create(self, path: Path, mode: int = 0o600) -> int:
        self.reached("create")
        return super().create(path, mode)

    def open(self, path: Path) -> int:
        self.reached("open")
        return super().open(path)

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        self.reached("write", lambda: Disk.write(self, fd, data[: len(data) // 2], offset))
        super().write(fd, data, offset)

    def allocate(self, fd: int, length: int) -> None:
        self.reached("allocate")
        super().allocate(fd, length)

    def fsync(self, fd: int) -> None:
        self.reached("fsync")
        super().fsync(fd)

    def fsync_dir(self, path: Path) -> None:
        self.reached("fsync_dir")
        super().fsync_dir(path)

    def rename(self, source: Path, target: Path) -> None:
        self.reached("rename")
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self.reached("unlink")
        super().unlink(path)

    def remove_tree(self, path: Path) -> None:
        self.reached("remove_tree", lambda: _remove_half(path))
        super().remove_tree(path)


def _remove_half(path: Path) -> None:
    files = sorted(entry for entry in path.rglob("*") if not entry.is_dir())
    for file in files[: (len(files) + 1) // 2]:
        file.unlink()


class CrashingDisk(_WatchedDisk):
    """Dies just before operation ``at`` (the first is 1); with ``torn``, in the middle of it."""

    def __init__(self, at: int, *, torn: bool = False) -> None:
        super().__init__()
        self.at, self.torn = at, torn

    def reached(self, name: str, half: Callable[[], None] | None = None) -> None:
        super().reached(name)
        if self.count == self.at and self.torn and half is not None:
            half()
        if self.count >= self.at:
            raise Crash(f"stopped at operation {self.at}, {name}")


class FailingDisk(_WatchedDisk):
    """Answers operation ``at``, counted among ``operations`` alone, with an ``OSError``.

    A full disk stays full: with ENOSPC and EDQUOT, every later one fails as well. ``hits`` says how many failed.
    """

    def __init__(self, errno: int, at: int, operations: frozenset[str] = GROWING) -> None:
        super().__init__()
        self.errno, self.at, self.operations, self.hits = errno, at, operations, 0
        self._lasting = errno in (errors.ENOSPC, errors.EDQUOT)

    def reached(self, name: str, half: Callable[[], None] | None = None) -> None:
        if name not in self.operations:
            return
        super().reached(name)
        if self.count == self.at or (self._lasting and self.count > self.at):
            self.hits += 1
            raise OSError(self.errno, os.strerror(self.errno))


class Act(Protocol):
    def __call__(self, folder: Path, disk: Disk) -> None: ...


def _copies(template: Path, workspace: Path, tag: str) -> Iterator[tuple[int, Path]]:
    """Fresh copies of ``template``, numbered from 1; each is removed before the next is made."""
    place = _fresh(workspace, tag)
    for number in range(1, _MOST):
        folder = place / str(number) / template.name
        shutil.copytree(template, folder)
        yield number, folder
        shutil.rmtree(folder.parent)


def _fresh(workspace: Path, tag: str) -> Path:
    workspace.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{tag}-", dir=workspace))


def stop_everywhere(
    template: Path, workspace: Path, act: Act, check: Callable[[Path], None], *, torn: bool = False
) -> int:
    """Kills ``act`` at every operation in turn and lets ``check`` look at what is left."""
    for number, folder in _copies(template, workspace, "stop"):
        finished = False
        with contextlib.suppress(Crash):
            act(folder, CrashingDisk(number, torn=torn))
            finished = True
        check(folder)
        if finished:
            return number - 1
    raise AssertionError("the act never ends")


def fail_everywhere(
    template: Path,
    workspace: Path,
    act: Act,
    check: Callable[[Path, Exception], None],
    *,
    errno: int,
    operations: frozenset[str] = GROWING,
) -> int:
    """Fails each of ``operations`` in turn; ``check`` gets the error that ``act`` raised, which it must not swallow."""
    for number, folder in _copies(template, workspace, "fail"):
        disk = FailingDisk(errno, number, operations)
        try:
            act(folder, disk)
        except (LumenError, OSError) as error:
            assert disk.hits, f"failed without a reason: {error}"
            check(folder, error)
        else:
            assert not disk.hits, f"operation {number} failed and nobody said so"
            return number - 1
    raise AssertionError("the act never ends")


def lose_everywhere(
    template: Path, workspace: Path, act: Act, check: Callable[[Path], None], *, follow: tuple[str, ...] = ()
) -> int:
    """Runs ``act`` once, then cuts the power after each operation, with every kind of :class:`Loss`."""
    place = _fresh(workspace, "lose")
    folder = place / "recorded" / template.name
    shutil.copytree(template, folder)
    disk = RecordingDisk(folder, follow)
    act(folder, disk)
    for first in range(disk.operations + 1):
        for loss in Loss:
            left = place / f"lost-{first}-{loss.value}" / template.name
            left.parent.mkdir()
            disk.replay(left, first, loss)
            check(left)
            shutil.rmtree(left.parent)
    return disk.operations
