"""The parts of one object in one folder: written while it is encrypted, read back segment by segment.

A part is a file of whole segments. Reading gives only bytes whose signed hash was verified, each read once. Who reads
many segments gives them room in buffers that are used again (:func:`in_turn`): a segment of 64 MiB in fresh memory
takes about as long to make and to give back as to hash.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..atomic import Disk
from ..errors import Damaged, PartMissing
from ..sealed.stream import Encryptor, object_context
from .files import opened, read_into
from .layout import part_name
from .manifest import StoredObject
from .slices import Place, Slices

_AGAIN = "Use an intact copy, or ask the publisher for a new one."

Room = Callable[[int], memoryview]  # from a size to a buffer of exactly that size


def fresh(size: int) -> memoryview:
    """Room that nothing else uses."""
    return memoryview(bytearray(size))


def in_turn(size: int, count: int) -> Room:
    """Room in ``count`` buffers of ``size`` bytes, one after the other: the first is overwritten after the last."""
    buffers = itertools.cycle([fresh(size) for _ in range(count)])
    return lambda wanted: next(buffers)[:wanted]


def read_part(
    folder: int, stored: StoredObject, part: int, start: int = 0, room: Room = fresh
) -> Iterator[tuple[int, memoryview]]:
    """The segments of one part, from number ``start`` on where that is inside: ``(number, stored bytes)``.

    Args:
        folder: a descriptor of the object's folder.
        stored: the object, from the signed manifest.
        part: counted from 1.
        room: where to put each segment.

    Raises:
        PartMissing: there is no such file.
        Damaged: another length than signed, or, after the sound ones before it, a segment with another hash.
    """
    slices, name = stored.slices, part_name(part)
    with opened(folder, (name,)) as fd:
        if fd is None:
            raise missing(part, stored)
        _check_length(fd, slices.part_size(part), name)
        for segment in range(max(start, slices.part_start(part)), slices.part_start(part + 1)):
            yield segment, _verified(fd, slices.place(segment), name, stored.segments[segment], room)


def missing(part: int, stored: StoredObject) -> PartMissing:
    return PartMissing(
        f"{part_name(part)} (of {stored.slices.parts}) of the object {stored.id} is not on this medium.",
        kept="What has been read so far is kept.",
        then="Insert the medium of the same export that holds it and run the same command again.",
    )


def _check_length(fd: int, expected: int, name: str) -> None:
    size = os.fstat(fd).st_size
    if size != expected:
        how = "was cut short" if size < expected else "has bytes added to it"
        raise Damaged(f"{name} {how}: it has {size} bytes instead of {expected}.", then=_AGAIN)


def _verified(fd: int, place: Place, name: str, sha256: str, room: Room) -> memoryview:
    os.posix_fadvise(fd, place.offset + place.size, place.size, os.POSIX_FADV_WILLNEED)
    data = room(place.size)
    data = data[: read_into(fd, place.offset, data)]
    if hashlib.sha256(data).hexdigest() != sha256:
        raise Damaged(
            f"{name} is damaged: the segment at byte {place.offset} does not have its signed hash.", then=_AGAIN
        )
    return data


def write_parts(
    folder: Path,
    plaintext: Iterable[bytes | bytearray | memoryview],
    slices: Slices,
    key: bytes,
    object_id: str,
    disk: Disk,
) -> tuple[str, ...]:
    """Encrypts ``plaintext`` into the parts of a new object in ``folder``; returns the hash of each segment.

    Every part is fsynced; the folder is not, because it is published as a whole. ``Damaged`` if ``plaintext`` does
    not have the ``slices.size`` bytes that it was said to have.
    """
    encryptor = Encryptor(key, object_context(bytes.fromhex(object_id)))
    with _Writer(folder, slices, disk) as writer:
        total = 0
        for piece in plaintext:
            total += len(piece)
            if total > slices.size:
                break
            writer.write(encryptor.update(piece))
        if total != slices.size:
            raise Damaged("The file changed its size while it was read.", kept="Nothing was added.")
        writer.write(encryptor.finish())
        return tuple(writer.hashes)


class _Writer:
    """Cuts the stored stream into segments and parts as it comes."""

    def __init__(self, folder: Path, slices: Slices, disk: Disk) -> None:
        self._folder, self._slices, self._disk = folder, slices, disk
        self._position = self._part_start = self._part = 0
        self._fd = -1
        self._hash = hashlib.sha256()
        self.hashes: list[str] = []

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            if self._fd < 0:
                self._next_part()
            end = self._slices.offset(len(self.hashes) + 1)
            piece, rest = rest[: end - self._position], rest[end - self._position :]
            self._hash.update(piece)
            self._disk.write(self._fd, piece, self._position - self._part_start)
            self._position += len(piece)
            if self._position == end:
                self._end_segment()

    def _next_part(self) -> None:
        self._part += 1
        self._part_start = self._position
        self._fd = self._disk.create(self._folder / part_name(self._part))

    def _end_segment(self) -> None:
        self.hashes.append(self._hash.hexdigest())
        self._hash = hashlib.sha256()
        if self._slices.part_of(len(self.hashes)) != self._part or self._position == self._slices.stored:
            self._disk.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1
