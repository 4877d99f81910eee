"""An object on its way in: space reserved first, then segment after segment, each durable before it is journalled.

    staging/<object id>/journal   which model this is for, by which manifest, and how many segments are there
    staging/<object id>/data      preallocated to the full size

Killed anywhere, the next run hashes what the journal claims and goes on from the first segment that is not right, so
the journal is a hint and never believed. The bytes that were hashed are the bytes that were written.

The folder is there before anything else of the object, and goes when its manifest is in place. So every object and
every content key on the box is named by a manifest or by a folder here, and nothing can be left that nobody knows of.
An install that nobody finishes stays until ``model remove``; ``doctor`` says what it takes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Container
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .. import strictjson
from ..atomic import Disk, make_dir, remove, translated, write_file
from ..bundle.manifest import StoredObject
from ..bundle.slices import Slices
from ..errors import Damaged, TooNew
from ..paths import Home, read_small
from ..progress import Advance, Report
from ..sealed.stream import HEADER

MAX_JOURNAL = 1024
_DATA, _JOURNAL = "data", "journal"


@dataclass(frozen=True)
class Claim:
    """What a journal says. ``publisher`` is the publisher's id, ``manifest`` the SHA-256 of the manifest."""

    publisher: str
    name: str
    version: str
    manifest: str
    segments: int = 0


@dataclass(frozen=True)
class Unfinished:
    """An install that was begun. ``size`` is how many bytes it takes on the disk."""

    object: str
    claim: Claim
    size: int


class Staging:
    """The staging folder of one object. Raises ``NoSpace`` where there is no room for it."""

    def __init__(self, home: Home, stored: StoredObject, claim: Claim, disk: Disk) -> None:
        self._folder, self._stored, self._claim, self._disk = home.staging / stored.id, stored, claim, disk
        self._slices: Slices = stored.slices
        self._fd: int | None = None
        self.done = 0

    @property
    def data(self) -> Path:
        return self._folder / _DATA

    def header(self) -> bytes | None:
        """The stream's header, if an interrupted run left segment 0 here, whole."""
        if not self.data.exists() or self.data.stat().st_size != self._stored.stored_size:
            return None
        self._fd = self._disk.open(self.data)
        segment = self._read(0)
        return segment[:HEADER] if self._journalled() and self._right(0, segment) else None

    def resume(self, report: Report) -> None:
        """Reserves the space, or finds what an interrupted run left; then :attr:`done` says where to go on."""
        if self._fd is None:
            self._reserve()
            self._fd = self._disk.open(self.data)
        for index in range(self._journalled()):
            if not self._right(index, self._read(index)):
                break
            self.done = index + 1
            report(Advance(self._slices.offset(self.done), self._stored.stored_size))

    def add(self, index: int, segment: memoryview, report: Report) -> None:
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

    def _reserve(self) -> None:
        make_dir(self._disk, self._folder)
        self._journal()
        with translated("There is no room for the model"):
            remove(self._disk, self.data)
            fd = self._disk.create(self.data)
            try:
                self._disk.allocate(fd, self._stored.stored_size)
                self._disk.fsync(fd)
            except OSError:
                with contextlib.suppress(OSError):
                    self._disk.unlink(self.data)  # give back at once what was reserved in vain
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
        record = asdict(replace(self._claim, segments=self.done))
        write_file(self._disk, self._folder / _JOURNAL, strictjson.dumps(record))

    def _journalled(self) -> int:
        """How many segments the journal claims for this very manifest; 0 for anything odd."""
        claim = _read_claim(self._folder)
        same = claim is not None and replace(claim, segments=0) == replace(self._claim, segments=0)
        return min(claim.segments, self._slices.segments) if claim and same else 0


def unfinished(home: Home) -> list[Unfinished]:
    """What lies in the staging area of this home, by object."""
    found = []
    for folder in sorted(home.staging.iterdir()) if home.staging.is_dir() else ():
        claim = _read_claim(folder)
        if claim is not None:
            sizes = [path.stat().st_size for path in (folder / _DATA, home.objects / folder.name) if path.exists()]
            found.append(Unfinished(folder.name, claim, sizes[0] if sizes else 0))
    return found


def discard(home: Home, disk: Disk, object_id: str) -> None:
    """Removes what is staged of an object, if anything is."""
    with translated("Clearing the staging area failed"):
        remove(disk, home.staging / object_id)


def clear(home: Home, disk: Disk, installed: Container[str]) -> None:
    """Discards what nobody can go on from: folders without a sound journal, and those of objects that have arrived."""
    for folder in list(home.staging.iterdir()) if home.staging.is_dir() else ():
        arrived = folder.name in installed or not (home.objects / folder.name).exists()
        if _read_claim(folder) is None or (arrived and not (folder / _DATA).exists()):
            discard(home, disk, folder.name)


def _read_claim(folder: Path) -> Claim | None:
    """What the journal in ``folder`` says, or None where there is none or it is not sound."""
    try:
        data = read_small(folder / _JOURNAL, MAX_JOURNAL)
        if data is None:
            return None
        fields = strictjson.Fields(strictjson.loads(data, what="A journal", max_bytes=MAX_JOURNAL), "A journal")
        texts = {name: fields.text(name) for name in ("publisher", "name", "version", "manifest")}
        claim = Claim(**texts, segments=fields.number("segments"))
        fields.end()
    except (Damaged, TooNew):
        return None
    return claim
