"""The arithmetic that cuts a stream, against the stream itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumen_box.bundle import limits
from lumen_box.bundle.slices import Slices
from lumen_box.sealed.stream import CHUNK, HEADER, STORED_CHUNK

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "bundle.json").read_text())


@given(
    size=st.one_of(
        st.integers(1, 200 * CHUNK), st.integers(0, 40).flatmap(lambda n: st.integers(n * CHUNK + 1, n * CHUNK + 2))
    ),
    segment_chunks=st.integers(1, 7),
    part_segments=st.integers(1, 5),
)
def test_segments_and_parts_cover_the_stream_once(size: int, segment_chunks: int, part_segments: int) -> None:
    slices = Slices(size, segment_chunks, part_segments)
    places = [slices.place(segment) for segment in range(slices.segments)]
    assert sum(place.size for place in places) == slices.stored
    assert all(place.size > 0 for place in places)
    filled: dict[int, int] = {}
    for place in places:
        assert place.offset == filled.get(place.part, 0)
        filled[place.part] = place.offset + place.size
    assert filled == {part: slices.part_size(part) for part in range(1, slices.parts + 1)}
    assert sum(filled.values()) == slices.stored


@given(size=st.integers(1, 100 * CHUNK), segment_chunks=st.integers(1, 7))
def test_every_segment_begins_at_a_chunk(size: int, segment_chunks: int) -> None:
    slices = Slices(size, segment_chunks, 1)
    for segment in range(1, slices.segments):
        assert (slices.offset(segment) - HEADER) % STORED_CHUNK == 0
        assert slices.offset(segment) - HEADER == segment * segment_chunks * STORED_CHUNK


@pytest.mark.parametrize("case", VECTORS["slices"], ids=lambda case: f"{case['size']}-bytes")
def test_vectors(case: dict[str, int | list[int]]) -> None:
    slices = Slices(int(case["size"]), int(case["segment_chunks"]), int(case["part_segments"]))  # type: ignore[arg-type]
    assert slices.stored == case["stored_size"]
    assert [slices.segment_size(n) for n in range(slices.segments)] == case["segment_sizes"]
    assert [slices.part_size(n + 1) for n in range(slices.parts)] == case["part_sizes"]


def test_the_largest_part_fits_fat32() -> None:
    largest = Slices(limits.MAX_OBJECT, limits.MAX_SEGMENT_CHUNKS, limits.MAX_PART_SEGMENTS)
    assert max(largest.part_size(part) for part in (1, 2)) < 2**32
    assert largest.segments <= limits.MAX_SEGMENTS


def test_usual_parts_are_about_two_gigabytes() -> None:
    assert 2_000_000_000 < Slices(10**12).part_size(2) < 2_200_000_000
