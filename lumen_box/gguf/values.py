"""What a GGUF header is made of: typed metadata values and tensor types.

The numbers are those of the GGUF specification (version 3) and of ``ggml_type``; a type that llama.cpp has removed
has no entry and is refused. A value keeps its type, so that what was read can be written back byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from math import prod

MAGIC = b"GGUF"
VERSION = 3
DEFAULT_ALIGNMENT = 32
ALIGNMENT_KEY = "general.alignment"


class ValueType(IntEnum):
    """The type of a metadata value, with its number in the file."""

    U8 = 0
    I8 = 1
    U16 = 2
    I16 = 3
    U32 = 4
    I32 = 5
    F32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    U64 = 10
    I64 = 11
    F64 = 12


FORMATS = {
    ValueType.U8: "B",
    ValueType.I8: "b",
    ValueType.U16: "H",
    ValueType.I16: "h",
    ValueType.U32: "I",
    ValueType.I32: "i",
    ValueType.F32: "f",
    ValueType.BOOL: "?",
    ValueType.U64: "Q",
    ValueType.I64: "q",
    ValueType.F64: "d",
}
"""``struct`` letters of the types with a fixed size; all are little-endian in the file."""

Scalar = int | float | bool | str


@dataclass(frozen=True)
class Value:
    """One metadata value. ``items`` is the type of the elements of an array and ``None`` otherwise."""

    type: ValueType
    data: Scalar | tuple[Scalar, ...]
    items: ValueType | None = None


def u32(number: int) -> Value:
    return Value(ValueType.U32, number)


def u16(number: int) -> Value:
    return Value(ValueType.U16, number)


def f32(number: float) -> Value:
    return Value(ValueType.F32, number)


def flag(truth: bool) -> Value:
    return Value(ValueType.BOOL, truth)


def text(words: str) -> Value:
    return Value(ValueType.STRING, words)


def array(items: ValueType, data: Iterable[Scalar]) -> Value:
    return Value(ValueType.ARRAY, tuple(data), items)


@dataclass(frozen=True)
class TensorType:
    """How the elements of a tensor are stored: ``block`` elements of a row together take ``size`` bytes."""

    number: int
    name: str
    block: int
    size: int

    def bytes_of(self, shape: tuple[int, ...]) -> int:
        """Bytes of a tensor whose rows are whole blocks."""
        return prod(shape) // self.block * self.size


TENSOR_TYPES = {
    number: TensorType(number, name, block, size)
    for number, name, block, size in (
        (0, "F32", 1, 4),
        (1, "F16", 1, 2),
        (2, "Q4_0", 32, 18),
        (3, "Q4_1", 32, 20),
        (6, "Q5_0", 32, 22),
        (7, "Q5_1", 32, 24),
        (8, "Q8_0", 32, 34),
        (9, "Q8_1", 32, 36),
        (10, "Q2_K", 256, 84),
        (11, "Q3_K", 256, 110),
        (12, "Q4_K", 256, 144),
        (13, "Q5_K", 256, 176),
        (14, "Q6_K", 256, 210),
        (15, "Q8_K", 256, 292),
        (16, "IQ2_XXS", 256, 66),
        (17, "IQ2_XS", 256, 74),
        (18, "IQ3_XXS", 256, 98),
        (19, "IQ1_S", 256, 50),
        (20, "IQ4_NL", 32, 18),
        (21, "IQ3_S", 256, 110),
        (22, "IQ2_S", 256, 82),
        (23, "IQ4_XS", 256, 136),
        (24, "I8", 1, 1),
        (25, "I16", 1, 2),
        (26, "I32", 1, 4),
        (27, "I64", 1, 8),
        (28, "F64", 1, 8),
        (29, "IQ1_M", 256, 56),
        (30, "BF16", 1, 2),
        (34, "TQ1_0", 256, 54),
        (35, "TQ2_0", 256, 66),
        (39, "MXFP4", 32, 17),
        (40, "NVFP4", 64, 36),
        (41, "Q1_0", 128, 18),
        (42, "Q2_0", 64, 18),
    )
}
BY_NAME = {kind.name: kind for kind in TENSOR_TYPES.values()}


def padded(size: int, alignment: int) -> int:
    """``size`` rounded up to a multiple of ``alignment`` (a power of two)."""
    return (size + alignment - 1) & ~(alignment - 1)
