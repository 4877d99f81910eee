"""Opening what a stranger wrote: one name at a time below an open folder, never through a link.

Every component is opened relative to its parent's descriptor, so nothing that is renamed meanwhile leads elsewhere.
Only folders and regular files are opened: a link, a FIFO, a socket or a device is ``Damaged``, and is looked at
before it is opened, because opening alone can block or move a tape. A size is checked before a byte is read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence

from ..errors import Damaged
from . import limits

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_SWAPPED = frozenset({errno.ELOOP, errno.ENOTDIR, errno.ENXIO})  # something else took the name after the look


def open_below(folder: int, names: Sequence[str], *, directory: bool = False) -> int | None:
    """A descriptor of the file (or folder) ``names`` below ``folder``, or None where it, or a folder, is missing."""
    *folders, last = names
    here = os.dup(folder)
    try:
        for name in folders:
            inner = _open(here, name, directory=True)
            if inner is None:
                return None
            os.close(here)
            here = inner
        return _open(here, last, directory)
    finally:
        os.close(here)


def _open(folder: int, name: str, directory: bool) -> int | None:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError("a name on a medium is one plain component")
    right = stat.S_ISDIR if directory else stat.S_ISREG
    try:
        if not right(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise _refused(name, directory)
        fd = os.open(name, _FOLDER if directory else _FILE, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in _SWAPPED:
            raise _refused(name, directory) from error
        raise
    if not right(os.fstat(fd).st_mode):  # it was replaced between the look and the opening
        os.close(fd)
        raise _refused(name, directory)
    return fd


def _refused(name: str, directory: bool) -> Damaged:
    wanted = "a folder" if directory else "a regular file"
    return Damaged(
        f"{name} on the medium is not {wanted}; links and devices are not followed.",
        kept="Nothing was changed.",
        then="Use a medium as the publisher wrote it.",
    )


@contextlib.contextmanager
def opened(folder: int, names: Sequence[str]) -> Iterator[int | None]:
    """The descriptor of a file for the length of a ``with`` block."""
    fd = open_below(folder, names)
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)


def read_small(folder: int, names: Sequence[str], most: int) -> bytes | None:
    """A whole file of at most ``most`` bytes, or None where there is none; ``Damaged`` where it is larger."""
    with opened(folder, names) as fd:
        if fd is None:
            return None
        size = os.fstat(fd).st_size
        data = b"" if size > most else read_at(fd, 0, size + 1)
    if len(data) != size:
        raise Damaged(
            f"{names[-1]} on the medium is larger than the {most} bytes allowed for it, or changes while it is read.",
            kept="Nothing was changed.",
            then="Use a medium as the publisher wrote it.",
        )
    return data


def read_at(fd: int, offset: int, size: int) -> bytes:
    """``size`` bytes from ``offset``, fewer only at the end of the file."""
    data = os.pread(fd, size, offset)
    if len(data) == size or not data:
        return data
    return data + read_at(fd, offset + len(data), size - len(data))


def read_into(fd: int, offset: int, out: memoryview) -> int:
    """Fills ``out`` from ``offset`` on; the number of bytes, fewer than wanted only at the end of the file."""
    done = 0
    while done < len(out) and (count := os.preadv(fd, [out[done:]], offset + done)):
        done += count
    return done


def names_in(folder: int) -> list[str]:
    """The names in a folder, sorted; ``Damaged`` where there are more than anybody writes."""
    names: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            names.append(entry.name)
            if len(names) > limits.MAX_ENTRIES:
                raise Damaged(
                    "A folder of the medium holds more entries than are allowed.", kept="Nothing was changed."
                )
    return sorted(names)
