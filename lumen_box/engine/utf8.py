"""Ranges of code points as ranges of the bytes that UTF-8 spells them with (RFC 3629). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

ByteRanges = tuple[tuple[int, int], ...]

_LENGTHS: Final = ((0x7F, 1), (0x7FF, 2), (0xFFFF, 3), (0x10FFFF, 4))
_SURROGATES: Final = (0xD800, 0xDFFF)


def spellings(low: int, high: int) -> Iterator[ByteRanges]:
    """Sequences of byte ranges that together spell exactly the characters from ``low`` to ``high``: never an overlong
    form, never half of a surrogate pair."""
    first, last = _SURROGATES
    if low < first:
        yield from _same_length(low, min(high, first - 1))
    if high > last:
        yield from _same_length(max(low, last + 1), high)


def _same_length(low: int, high: int) -> Iterator[ByteRanges]:
    for longest, length in _LENGTHS:
        if low <= min(high, longest):
            yield from _aligned(low, min(high, longest), length)
            low = longest + 1


def _aligned(low: int, high: int, length: int) -> Iterator[ByteRanges]:
    """Splits until, from the first byte that differs, every later byte takes all its values."""
    for later in range(1, length):
        mask = (1 << 6 * later) - 1
        if low & ~mask != high & ~mask:
            if low & mask:
                yield from _aligned(low, low | mask, length)
                yield from _aligned((low | mask) + 1, high, length)
                return
            if high & mask != mask:
                yield from _aligned(low, (high & ~mask) - 1, length)
                yield from _aligned(high & ~mask, high, length)
                return
    yield tuple(zip(chr(low).encode(), chr(high).encode(), strict=True))
