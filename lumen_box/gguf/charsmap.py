"""Checks the table by which a unigram tokenizer normalises text (``precompiled_charsmap``).

Four bytes of length, a double array of 32-bit units in the XOR-compressed form of darts-clone, then strings ended by
NUL. llama.cpp walks the array with bytes of the text and throws through its C interface when a step leaves the array
or a string does not end; so every step that any text could take is followed here once.

A unit: bits 0-7 the byte by which it is reached and bit 31 clear, bit 8 set if a value hangs below, bits 10-30 the
offset to its children (times 256 if bit 9 is set); a value unit has bit 31 set.
"""

from __future__ import annotations

import struct
from collections import defaultdict

from .model import Gguf, unsound
from .values import ValueType

KEY = "tokenizer.ggml.precompiled_charsmap"


def check_charsmap(gguf: Gguf) -> None:
    """Raises ``Damaged`` where the table is there and some text would lead out of it."""
    items = gguf.items(KEY, ValueType.U8, ValueType.I8)
    if items is None:
        return
    raw = bytes(int(item) & 0xFF for item in items)
    if len(raw) < 4:
        raise unsound("its table of characters is cut short")
    length = int.from_bytes(raw[:4], "little")
    if length % 4 or length + 4 >= len(raw):
        raise unsound("its table of characters does not fit its own length")
    units = struct.unpack(f"<{length // 4}I", raw[4 : 4 + length])
    if units:
        _walk(units, raw[4 + length :])


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & 0x200) >> 6)


def _walk(units: tuple[int, ...], strings: bytes) -> None:
    children = defaultdict(list)  # by the base from which a unit would be reached
    for index, unit in enumerate(units):
        if not unit & 0x8000_0000 and unit & 0xFF:
            children[index ^ (unit & 0xFF)].append(index)
    last_end = strings.rfind(b"\0")
    seen, waiting = set(), [_offset(units[0])]
    while waiting:
        base = waiting.pop()
        if base in seen:
            continue
        seen.add(base)
        if base | 0xFF >= len(units):
            raise unsound("its table of characters leads out of itself")
        for index in children[base]:
            below = index ^ _offset(units[index])
            if units[index] & 0x100 and not (below < len(units) and units[below] & 0x7FFF_FFFF <= last_end):
                raise unsound("its table of characters has a replacement that does not end")
            waiting.append(below)
