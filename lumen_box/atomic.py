"""The only place that makes a change durable: temporary name, fsync, rename, fsync of the folder.

Every durable change goes through a :class:`Disk`, so that a test can stop the process at every single operation,
make any of them fail, and replay a recording with everything dropped that was never fsynced. Errors of the
operating system become ``NoSpace`` where the disk is full and pass through otherwise; a failed ``fsync`` is never
tried again on the same file, because the kernel may have dropped the pages.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from .errors import NoSpace

PRIVATE_FILE = 0o600
PRIVATE_DIR = 0o700
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_AT_ONCE = 1 << 20  # bytes of a write; for a larger one the kernel looks for larger runs of free memory, slowly


class Disk:
    """Thin, replaceable layer over the system calls that change what is on disk."""

    def mkdir(self, path: Path) -> None:
        path.mkdir(mode=PRIVATE_DIR)

    def create(self, path: Path, mode: int = PRIVATE_FILE) -> int:
        """A new file's descriptor, open for writing; ``FileExistsError`` if the name is taken."""
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, mode)

    def open(self, path: Path) -> int:
        """An existing regular file's descriptor, open for reading and writing."""
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        """All of ``data`` at ``offset``."""
        view = memoryview(data)
        while view:
            count = os.pwrite(fd, view[:_AT_ONCE], offset)
            view, offset = view[count:], offset + count

    def allocate(self, fd: int, length: int) -> None:
        os.posix_fallocate(fd, 0, length)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def fsync_dir(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def remove_tree(self, path: Path) -> None:
        shutil.rmtree(path)


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turns "disk full" into ``NoSpace`` with a sentence: ``what`` says what could not be written."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise NoSpace(
                f"{what}: the disk is full.",
                kept="What was there before is unchanged.",
                then="Free some space and run the same command again.",
            ) from error
        raise


def write_file(disk: Disk, path: Path, data: bytes, mode: int = PRIVATE_FILE) -> None:
    """Replaces ``path`` by ``data``: afterwards either the old bytes are there or all of the new ones."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with translated(f"Writing {path.name} failed"):
        try:
            fd = disk.create(temporary, mode)
            try:
                disk.write(fd, data, 0)
                disk.fsync(fd)
            finally:
                os.close(fd)
            disk.rename(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        disk.fsync_dir(path.parent)


def make_dir(disk: Disk, path: Path) -> None:
    """``path`` and its missing parents, private and durable; an existing folder is left as it is."""
    if path.is_dir():
        with contextlib.suppress(PermissionError):  # who made it may have been stopped before its name was durable
            disk.fsync_dir(path.parent)
        return
    make_dir(disk, path.parent)
    with translated(f"Making the folder {path.name} failed"):
        with contextlib.suppress(FileExistsError):
            disk.mkdir(path)
        disk.fsync_dir(path.parent)


def publish(disk: Disk, staged: Path, final: Path) -> None:
    """Moves a finished folder or file, whose contents are already fsynced, to its final name."""
    disk.fsync_dir(staged if staged.is_dir() else staged.parent)
    disk.rename(staged, final)
    disk.fsync_dir(final.parent)
    if staged.parent != final.parent:
        disk.fsync_dir(staged.parent)


def remove(disk: Disk, path: Path) -> None:
    """Removes a file or folder if it is there: a folder first loses its name, so that it never looks half whole."""
    if path.is_dir() and not path.is_symlink():
        doomed = path.with_name(f".{path.name}.{secrets.token_hex(4)}.removed")
        disk.rename(path, doomed)
        disk.fsync_dir(path.parent)
        disk.remove_tree(doomed)
    elif path.exists() or path.is_symlink():
        disk.unlink(path)
        disk.fsync_dir(path.parent)


def sweep(disk: Disk, folder: Path) -> None:
    """Clears what interrupted writes and removals left behind in ``folder``."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.name.startswith(".") and entry.name.endswith((".tmp", ".removed")):
            if entry.is_dir() and not entry.is_symlink():
                disk.remove_tree(entry)
            else:
                disk.unlink(entry)
