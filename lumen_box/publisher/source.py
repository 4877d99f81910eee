"""The GGUF file that a publisher adds: checked first, then read once from the same descriptor.

The header that was checked is the header that is encrypted, because it is kept from the first reading. A file whose
length changes meanwhile is refused where it is written.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..bundle.files import read_at
from ..bundle.limits import MAX_OBJECT
from ..errors import Damaged, NotAllowed, NotFound, UsageError
from ..gguf.model import Gguf
from ..gguf.reader import read_header

PIECE = 1 << 20


@dataclass(frozen=True)
class Source:
    """A sound model of ``size`` bytes; ``pieces`` gives them once, in order."""

    gguf: Gguf
    size: int
    pieces: Iterator[bytes]


@contextlib.contextmanager
def opened_model(path: Path) -> Iterator[Source]:
    """The model in ``path``. Raises ``Damaged`` or ``TooNew`` for what no box could load."""
    fd = _open(path)
    try:
        size = os.fstat(fd).st_size
        if not 0 < size <= MAX_OBJECT:
            raise Damaged(f"{path.name} is empty, or larger than {MAX_OBJECT} bytes.", kept="Nothing was added.")
        head = _Head(fd)
        gguf = read_header(head.read, size)
        yield Source(gguf, size, head.pieces())
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.", kept="Nothing was added.") from None
    except PermissionError:
        raise NotAllowed(f"You may not read {path}.", kept="Nothing was added.") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UsageError(f"{path} is not a regular file.", kept="Nothing was added.")
    return fd


class _Head:
    """The beginning of a file, remembered as far as anybody has asked for it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._seen = bytearray()

    def read(self, offset: int, size: int) -> bytes:
        missing = offset + size - len(self._seen)
        if missing > 0:
            self._seen += read_at(self._fd, len(self._seen), missing)
        return bytes(self._seen[offset : offset + size])

    def pieces(self) -> Iterator[bytes]:
        """The whole file: what is remembered, then what follows it."""
        yield bytes(self._seen)
        offset = len(self._seen)
        while piece := read_at(self._fd, offset, PIECE):
            yield piece
            offset += len(piece)
