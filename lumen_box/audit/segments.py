"""The files of the log: preallocated segments of whole lines, filled up with zero bytes.

Rules: segments are numbered from 1 without gaps; a line never crosses a segment; every append is fsynced before it
counts. So after a crash at most one line, the last, can be torn: the next append, which reports it, takes its place.
Any other irregularity is damage. One empty segment is always kept ready, so that the log can still say that the disk is
full.

What opening finds need not be on the disk: the writer may have been killed before its fsync, or its fsync failed and
the kernel keeps pages that it will never write. So opening writes the last line again and makes it durable.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..atomic import Disk, translated
from ..errors import Damaged, NoSpace
from .events import MAX_LINE

SEGMENT_SIZE = 4 * 1024 * 1024  # bytes, of every segment
_NAME = re.compile(r"(\d{8})\.log")


class Segments:
    """Appends and reads lines. ``torn`` is how many bytes of an unfinished line the next append overwrites."""

    def __init__(self, folder: Path, disk: Disk, size: int = SEGMENT_SIZE) -> None:
        self._folder, self._disk, self._size = folder, disk, size
        self._discard_unfinished()
        if not self._numbers():
            self._create(1)
        self._number, self._end, self.torn = self._find_end()
        self._fd = disk.open(self._path(self._number))
        self._broken = False
        try:
            self._settle()
            self._keep_spare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Nothing can be appended any more: the number of the descriptor may soon be another file's."""
        self._broken = True
        os.close(self._fd)

    def append(self, line: bytes) -> None:
        """Writes the line and its line feed, durably. Raises ``NoSpace`` when the reserve is used up too."""
        data = line + b"\n"
        if len(data) > MAX_LINE:
            raise ValueError("an audit line is longer than its cap")
        if self._broken:  # after a failed write or fsync nobody knows what the file holds: only opening finds out
            raise Damaged(
                "The audit log could not be written before, so nothing that must be recorded is done.",
                then="Mend the disk and start again: the log then checks and repairs itself.",
            )
        fits = self._end + len(data) <= self._size
        self._wipe(keep=len(data) if fits else 0)
        if not fits:
            self._advance()
        self._write(data, self._end)
        self._end += len(data)

    def lines(self) -> Iterator[bytes]:
        """Every line in order, without line feeds."""
        for number in self._numbers():
            if number > self._number:
                return
            yield from self._content(number).split(b"\n")[:-1]

    def _wipe(self, keep: int) -> None:
        """Zeros over what is torn beyond the ``keep`` bytes that the next line is about to overwrite."""
        if self.torn > keep:
            self._write(bytes(self.torn - keep), self._end + keep)
        self.torn = 0

    def _write(self, data: bytes, offset: int) -> None:
        try:
            with translated("Writing the audit log failed"):
                self._disk.write(self._fd, data, offset)
                self._disk.fsync(self._fd)
        except BaseException:
            self._broken = True
            raise

    def _settle(self) -> None:
        start = max(0, self._end - MAX_LINE)
        self._write(os.pread(self._fd, self._end - start, start), start)
        self._disk.fsync_dir(self._folder)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08}.log"

    def _numbers(self) -> list[int]:
        found = sorted(int(m.group(1)) for entry in self._folder.iterdir() if (m := _NAME.fullmatch(entry.name)))
        if found != list(range(1, len(found) + 1)):
            raise _damaged("a segment is missing")
        return found

    def _create(self, number: int) -> None:
        """A new segment is filled under another name, so that it is never seen with less than its full size."""
        unfinished = self._folder / f".{number:08}.new"
        self._discard_unfinished()
        with translated("Preparing space for the audit log failed"):
            fd = self._disk.create(unfinished)
            try:
                self._disk.allocate(fd, self._size)
                self._disk.fsync(fd)
            finally:
                os.close(fd)
            self._disk.rename(unfinished, self._path(number))
            self._disk.fsync_dir(self._folder)

    def _discard_unfinished(self) -> None:
        for entry in self._folder.glob(".*.new"):
            self._disk.unlink(entry)

    def _keep_spare(self) -> None:
        if not self._path(self._number + 1).exists():
            with contextlib.suppress(NoSpace):
                self._create(self._number + 1)
            self._discard_unfinished()

    def _advance(self) -> None:
        if not self._path(self._number + 1).exists():
            self._create(self._number + 1)
        following = self._disk.open(self._path(self._number + 1))
        os.close(self._fd)
        self._fd, self._number, self._end = following, self._number + 1, 0
        self._keep_spare()

    def _read(self, number: int) -> bytes:
        path = self._path(number)
        if path.is_symlink() or path.stat().st_size != self._size:
            raise _damaged(f"segment {number} does not have its size")
        return path.read_bytes()

    def _content(self, number: int) -> bytes:
        data = self._read(number)
        return data[: data.find(b"\x00")] if b"\x00" in data else data

    def _find_end(self) -> tuple[int, int, int]:
        """Number of the segment to go on with, where in it, and how many bytes after that are torn."""
        last, end, torn = 1, 0, 0
        for number in self._numbers():
            data = self._read(number)
            used = _used(data)
            if not used:
                continue
            if torn or (number > last + 1):
                raise _damaged(f"segment {last} ends before its end")
            last, end = number, self._content(number).rfind(b"\n") + 1
            torn = used - end
            if torn > MAX_LINE:
                raise _damaged(f"{torn} bytes at the end of segment {number} are not lines")
        return last, end, torn


def _used(data: bytes) -> int:
    """How many bytes there are before the zeros that fill up a segment."""
    first = data.find(b"\x00")
    if first < 0 or data[first:] == bytes(len(data) - first):  # many times faster than rstrip, and nearly always so
        return first if first >= 0 else len(data)
    return len(data.rstrip(b"\x00"))


def _damaged(why: str) -> Damaged:
    return Damaged(
        f"The audit log is damaged: {why}.",
        kept="It was left as it is.",
        then="Keep a copy of the audit folder for the auditor and restore it from a backup.",
    )
