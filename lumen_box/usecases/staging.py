"""An object on its way in: space reserved first, then segment after segment, each durable before it is journalled.

    staging/<object id>/data      preallocated to the full size
    staging/<object id>/journal   how many segments are there, and for which manifest

Killed anywhere, the next run hashes what the journal claims and goes on from the first segment that is not right, so
the journal is a hint and never believed. The bytes that were hashed are the bytes that were written.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from .. import strictjson
from ..atomic import Disk, make_dir, remove, translated, write_file
from ..bundle.manifest import StoredObject
from ..bundle.slices import Slices
from ..errors import Damaged
from ..progress import Advance, Report

MAX_JOURNAL = 1024


class Staging:
    """The staging folder of one object. Raises ``NoSpace`` where there is no room for it."""

    def __init__(self, folder: Path, stored: StoredObject, manifest_sha256: str, disk: Disk) -> None:
        self._folder, self._stored, self._manifest, self._disk = folder, stored, manifest_sha256, disk
        self._slices: Slices = stored.slices
        self._fd: int | None = None
        self.done = 0

    @property
    def data(self) -> Path:
        return self._folder / "data"

    def first(self) -> bytes | None:
        """Segment 0, if an interrupted run left it here, whole."""
        if not self.data.exists() or self.data.stat().st_size != self._stored.stored_size:
            return None
        self._fd = self._disk.open(self.data)
        segment = self._read(0)
        return segment if self._journalled() and self._right(0, segment) else None

    def resume(self, report: Report) -> None:
        """Reserves the space, or finds what an interrupted run left; then :attr:`done` says where to go on."""
        if self._fd is None:
            remove(self._disk, self._folder)
            self._reserve()
            self._fd = self._disk.open(self.data)
        for index in range(self._journalled()):
            if not self._right(index, self._read(index)):
                break
            self.done = index + 1
            report(Advance(self._slices.offset(self.done), self._stored.stored_size))

    def add(self, index: int, segment: bytes, report: Report) -> None:
        """Writes a segment whose hash was verified while it was read, durably, and journals it."""
        if index != self.done or self._fd is None:
            raise ValueError("segments are added in order, after resume")
        with translated("Copying the model failed"):
            self._disk.write(self._fd, segment, self._slices.offset(index))
            self._disk.fsync(self._fd)
        self.done = index + 1
        self._journal()
        report(Advance(self._slices.offset(self.done), self._stored.stored_size))

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def discard(self) -> None:
        remove(self._disk, self._folder)

    def _reserve(self) -> None:
        make_dir(self._disk, self._folder)
        with translated("There is no room for the model"):
            fd = self._disk.create(self.data)
            try:
                self._disk.allocate(fd, self._stored.stored_size)
                self._disk.fsync(fd)
            except OSError:
                remove(self._disk, self._folder)  # give back at once what was reserved in vain
                raise
            finally:
                os.close(fd)
        self._disk.fsync_dir(self._folder)

    def _right(self, index: int, segment: bytes) -> bool:
        return hashlib.sha256(segment).hexdigest() == self._stored.segments[index]

    def _read(self, index: int) -> bytes:
        assert self._fd is not None  # noqa: S101
        return os.pread(self._fd, self._slices.segment_size(index), self._slices.offset(index))

    def _journal(self) -> None:
        record = {"manifest": self._manifest, "segments": self.done}
        write_file(self._disk, self._folder / "journal", strictjson.dumps(record))

    def _journalled(self) -> int:
        """How many segments the journal claims for this very manifest; 0 for anything odd."""
        try:
            data = (self._folder / "journal").read_bytes()
            fields = strictjson.Fields(strictjson.loads(data, what="A journal", max_bytes=MAX_JOURNAL), "A journal")
            same = fields.text("manifest") == self._manifest
            return fields.number("segments", most=self._slices.segments) if same else 0
        except (FileNotFoundError, Damaged):
            return 0
