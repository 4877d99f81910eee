"""The arithmetic of slices: which bytes of a stored stream are in which segment, and which segments in which part.

A stored stream is a 56-byte header and then stored chunks of 16,400 bytes, the last one shorter. Segment 0 is the
header and the first ``segment_chunks`` chunks; every other segment is ``segment_chunks`` chunks, the last one fewer.
Part *n*, counted from 1, is ``part_segments`` whole segments, the last one fewer. So every segment decrypts alone
and every part verifies alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..sealed.stream import HEADER, STORED_CHUNK, stored_size
from . import limits


@dataclass(frozen=True)
class Place:
    """Where a segment lies: in which part (from 1), from which byte of it, and how many bytes."""

    part: int
    offset: int
    size: int


@dataclass(frozen=True)
class Slices:
    """Geometry of one object; sizes in bytes, ``size`` of the plaintext."""

    size: int
    segment_chunks: int = limits.SEGMENT_CHUNKS
    part_segments: int = limits.PART_SEGMENTS

    @property
    def stored(self) -> int:
        """Bytes of the whole stored stream."""
        return stored_size(self.size)

    @property
    def segments(self) -> int:
        return -(-(self.stored - HEADER) // (self.segment_chunks * STORED_CHUNK))

    @property
    def parts(self) -> int:
        return -(-self.segments // self.part_segments)

    def offset(self, segment: int) -> int:
        """Where ``segment`` starts in the stored stream; one past the last one gives the stream's end."""
        start = HEADER + segment * self.segment_chunks * STORED_CHUNK if segment else 0
        return min(start, self.stored)

    def segment_size(self, segment: int) -> int:
        return self.offset(segment + 1) - self.offset(segment)

    def part_of(self, segment: int) -> int:
        return segment // self.part_segments + 1

    def part_start(self, part: int) -> int:
        """The first segment of ``part``; of one past the last part, the number of segments."""
        return min((part - 1) * self.part_segments, self.segments)

    def part_size(self, part: int) -> int:
        return self.offset(self.part_start(part + 1)) - self.offset(self.part_start(part))

    def place(self, segment: int) -> Place:
        part = self.part_of(segment)
        offset = self.offset(segment) - self.offset(self.part_start(part))
        return Place(part, offset, self.segment_size(segment))
