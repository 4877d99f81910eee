"""The two copies of the keyring on disk.

The newest whole copy is the keyring; the other is there to heal it. A change is first written beside both copies and
made durable, then proven, then each copy in turn gets its name by a rename. Stopped before the first rename, the old
keyring stands; after it, the new one does, and the next start heals the second copy. What a rename has displaced is
overwritten, which destroys it wherever the file system writes in place.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..atomic import FULL, Disk, publish, sweep, write_file
from ..errors import Damaged, LumenError, NoBox, NoSpace
from .keyring import MAX_FILE, Stored, peek

COPIES = ("keyring.a", "keyring.b")
_NEXT = ".next"


@dataclass(frozen=True)
class Copy:
    """One of the two files; ``stored`` is None if it is missing or damaged, and ``problem`` then says why."""

    name: str
    data: bytes
    stored: Stored | None
    problem: str = ""

    @property
    def sequence(self) -> int:
        return self.stored.header.sequence if self.stored else 0


def exists(folder: Path) -> bool:
    return any((folder / name).exists() for name in COPIES)


def read_copies(folder: Path) -> list[Copy]:
    """Both copies, the newest whole one first. ``NoBox`` if there is none, ``Damaged`` if no copy is whole."""
    copies = [_read_copy(folder / name) for name in COPIES]
    if not exists(folder):
        raise NoBox("There is no keyring here.", then="Make a box with: lumen-box init")
    if not any(copy.stored for copy in copies):
        raise Damaged(
            "Both copies of the keyring are damaged: " + "; ".join(f"{c.name} {c.problem}" for c in copies) + ".",
            kept="Neither was changed.",
            then="Bring back the vault folder from a backup.",
        )
    return sorted(copies, key=lambda copy: -copy.sequence)


def _read_copy(path: Path) -> Copy:
    try:
        data = _read(path)
        return Copy(path.name, data, peek(data))
    except FileNotFoundError:
        return Copy(path.name, b"", None, "is missing")
    except (Damaged, OSError) as error:
        return Copy(path.name, b"", None, f"cannot be used ({error})")


def _read(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE:
            raise Damaged("not a file of a proper size")
        return file.read(MAX_FILE + 1)


def stage(disk: Disk, folder: Path, data: bytes, names: tuple[str, ...] = COPIES) -> None:
    """Writes ``data`` beside the copies, durably."""
    for name in names:
        write_file(disk, folder / (name + _NEXT), data)


@contextlib.contextmanager
def cleared_on_failure(disk: Disk, folder: Path) -> Iterator[None]:
    """Leaves nothing that the block has staged if it fails, as far as the disk lets go of it."""
    try:
        yield
    except (OSError, LumenError):
        with contextlib.suppress(OSError):
            clear(disk, folder)
        raise


def staged(folder: Path, names: tuple[str, ...] = COPIES) -> list[bytes]:
    """What was staged, as it lies on the disk."""
    return [_read(folder / (name + _NEXT)) for name in names]


def clear(disk: Disk, folder: Path) -> None:
    """Removes what interrupted changes have left."""
    for name in COPIES:
        leftover = folder / (name + _NEXT)
        if leftover.is_symlink() or leftover.exists():
            disk.unlink(leftover)
    sweep(disk, folder)


@contextlib.contextmanager
def displaced(disk: Disk, folder: Path) -> Iterator[None]:
    """Holds on to both copies as they are, and destroys afterwards those that the block has replaced."""
    with contextlib.ExitStack() as stack:
        held = []
        for name in COPIES:
            with contextlib.suppress(OSError):
                held.append(disk.open(folder / name))
                stack.callback(os.close, held[-1])
        yield
        for fd in held:
            _destroy(disk, fd)


def switch(disk: Disk, folder: Path, name: str) -> None:
    """Gives the staged copy its name, durably. Only the first copy's failing leaves the old keyring standing."""
    kept = (
        "The old keyring stands." if name == COPIES[0] else "The change itself is done; the next start heals the copy."
    )
    with _full_disk(f"Replacing {name} failed", kept):
        publish(disk, folder / (name + _NEXT), folder / name)


def _destroy(disk: Disk, fd: int) -> None:
    found = os.fstat(fd)
    if found.st_nlink or not stat.S_ISREG(found.st_mode):  # still in use, or somebody keeps a link to it on purpose
        return
    with _full_disk("Overwriting the old keyring failed", "The change itself is done; remains may lie in free space."):
        disk.write(fd, bytes(min(found.st_size, MAX_FILE)), 0)
        disk.fsync(fd)


@contextlib.contextmanager
def _full_disk(what: str, kept: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise NoSpace(f"{what}: the disk is full.", kept=kept, then="Free some space and do it again.") from error
