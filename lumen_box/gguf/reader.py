"""A strict, pure parser of GGUF headers.

``read_structure`` takes apart what the format itself defines; ``read_header`` also checks that the file is one whole
model that llama.cpp can load without stopping the process or reading where it must not. Both read only through the
callable they are given, check every count against a cap before they allocate, and raise ``Damaged`` (22) with a
sentence, or ``TooNew`` (25) where the file uses what this version does not know.

Stricter than llama.cpp: printable ASCII in keys and tensor names, UTF-8 in all strings, nothing after the last
tensor, no tensor without elements, alignments from 8 bytes to 64 KiB. Specification: ``docs/gguf.md`` of ggml,
versions 2 and 3 (which differ only in that 3 allows for big-endian files; those are refused).
"""

from __future__ import annotations

from math import prod

from ..errors import TooNew
from .cursor import Cursor, Read
from .hyperparameters import check_hyperparameters
from .limits import Limits
from .model import Gguf, Tensor, quoted, unsound
from .tokenizer import check_tokenizer
from .values import (
    ALIGNMENT_KEY,
    DEFAULT_ALIGNMENT,
    MAGIC,
    TENSOR_TYPES,
    VERSION,
    Scalar,
    TensorType,
    Value,
    ValueType,
    padded,
)

NEWEST_TYPE = max(TENSOR_TYPES)
DEFAULT_LIMITS = Limits()


def read_header(read: Read, size: int, limits: Limits = DEFAULT_LIMITS) -> Gguf:
    """The header of a whole model of ``size`` bytes; ``read(offset, count)`` returns its bytes.

    Raises:
        Damaged: the file is malformed, or one that the engine would crash on.
        TooNew: a version, tensor type, tokenizer or kind of file that this box does not know.
    """
    gguf = read_structure(read, size, limits)
    if gguf.split_count > 1:
        raise unsound(f"it is one of {gguf.split_count} files of a split model, and they must be merged first")
    if not gguf.tensors:
        raise unsound("it holds no tensors")
    check_hyperparameters(gguf)
    check_tokenizer(gguf)
    return gguf


def read_structure(read: Read, size: int, limits: Limits = DEFAULT_LIMITS) -> Gguf:
    """The header of any GGUF file, also of one part of a split model; see :func:`read_header`."""
    cursor = Cursor(read, size, limits)
    version = _version(cursor)
    tensor_count, key_count = cursor.u64(), cursor.u64()
    if tensor_count > limits.tensors:
        raise unsound(f"it claims {tensor_count} tensors; at most {limits.tensors} are allowed")
    if key_count > limits.keys:
        raise unsound(f"it claims {key_count} metadata keys; at most {limits.keys} are allowed")
    metadata = _metadata(cursor, key_count, limits)
    alignment = _alignment(metadata, limits)
    tensors = _tensors(cursor, tensor_count, alignment, limits)
    data_offset = padded(cursor.at, alignment)
    _check_extent(tensors, cursor.at, data_offset, alignment, size)
    return Gguf(version, metadata, tensors, alignment, cursor.at, data_offset)


def _version(cursor: Cursor) -> int:
    if cursor.take(4) != MAGIC:
        raise unsound("it does not begin with the letters GGUF")
    version = cursor.u32()
    if version & 0xFFFF == 0 and version:
        raise unsound("it was written for big-endian machines")
    if version > VERSION:
        raise TooNew(f"The GGUF file has format version {version}.", then="It needs a newer Lumen Box.")
    if version < 2:
        raise unsound(f"its format version {version} is no longer in use")
    return version


def _metadata(cursor: Cursor, count: int, limits: Limits) -> dict[str, Value]:
    metadata: dict[str, Value] = {}
    elements = 0
    for number in range(count):
        key = cursor.string(limits.key_bytes, f"metadata key {number}")
        if not key or not _printable(key):
            raise unsound(f"metadata key {number} is {quoted(key)}, which is not printable ASCII")
        if key in metadata:
            raise unsound(f"the metadata key {quoted(key)} appears twice")
        value = _value(cursor, key, limits, limits.elements - elements)
        elements += len(value.data) if isinstance(value.data, tuple) else 0
        metadata[key] = value
    return metadata


def _printable(name: str) -> bool:
    return name.isascii() and name.isprintable()


def _value_type(number: int, key: str) -> ValueType:
    try:
        return ValueType(number)
    except ValueError:
        raise unsound(f"{quoted(key)} has the unknown type {number}") from None


def _value(cursor: Cursor, key: str, limits: Limits, elements_left: int) -> Value:
    kind = _value_type(cursor.u32(), key)
    if kind is not ValueType.ARRAY:
        return Value(kind, _items(cursor, kind, 1, key, limits)[0])
    items, count = _value_type(cursor.u32(), key), cursor.u64()
    if items is ValueType.ARRAY:
        raise unsound(f"{quoted(key)} is a list of lists")
    if count > elements_left:
        raise unsound(f"{quoted(key)} claims {count} elements; {limits.elements} in all are allowed")
    return Value(kind, _items(cursor, items, count, key, limits), items)


def _items(cursor: Cursor, kind: ValueType, count: int, key: str, limits: Limits) -> tuple[Scalar, ...]:
    if kind is not ValueType.STRING:
        return cursor.numbers(kind, count, quoted(key))
    what = f"a string of {quoted(key)}"
    return tuple([cursor.string(limits.string_bytes, what) for _ in range(count)])


def _alignment(metadata: dict[str, Value], limits: Limits) -> int:
    value = metadata.get(ALIGNMENT_KEY)
    if value is None:
        return DEFAULT_ALIGNMENT
    alignment = value.data
    if value.type is not ValueType.U32 or not isinstance(alignment, int):
        raise unsound("its alignment is not a 32-bit number")
    if not 8 <= alignment <= limits.alignment or alignment & (alignment - 1):
        raise unsound(f"its alignment of {alignment} bytes is not a power of two from 8 to {limits.alignment}")
    return alignment


def _tensors(cursor: Cursor, count: int, alignment: int, limits: Limits) -> tuple[Tensor, ...]:
    tensors: dict[str, Tensor] = {}
    due = 0  # where the next tensor must begin: llama.cpp takes no other order and no gaps
    for number in range(count):
        tensor = _tensor(cursor, number, limits)
        if tensor.name in tensors:
            raise unsound(f"the tensor {quoted(tensor.name)} appears twice")
        if tensor.offset % alignment:
            raise unsound(f"the tensor {quoted(tensor.name)} is not aligned to {alignment} bytes")
        if tensor.offset != due:
            how = "overlaps the one before it" if tensor.offset < due else "does not follow the one before it"
            raise unsound(f"the tensor {quoted(tensor.name)} {how}")
        tensors[tensor.name] = tensor
        due += padded(tensor.size, alignment)
    return tuple(tensors.values())


def _tensor(cursor: Cursor, number: int, limits: Limits) -> Tensor:
    name = cursor.string(limits.name_bytes, f"the name of tensor {number}")
    if not name or not _printable(name):
        raise unsound(f"the name of tensor {number} is {quoted(name)}, which is not printable ASCII")
    rank = cursor.u32()
    if not 1 <= rank <= limits.dimensions:
        raise unsound(f"the tensor {quoted(name)} has {rank} dimensions")
    shape = tuple(cursor.u64() for _ in range(rank))
    kind = _tensor_type(cursor.u32(), name)
    if 0 in shape or prod(shape) > 2**63 - 1:
        raise unsound(f"the tensor {quoted(name)} has the impossible shape {shape}")
    if shape[0] % kind.block:
        raise unsound(f"the rows of tensor {quoted(name)} are not whole blocks of {kind.name}")
    return Tensor(name, shape, kind, cursor.u64(), kind.bytes_of(shape))


def _tensor_type(number: int, name: str) -> TensorType:
    kind = TENSOR_TYPES.get(number)
    if kind is not None:
        return kind
    if number > NEWEST_TYPE:
        raise TooNew(f"The tensor {quoted(name)} has the unknown type {number}.", then="It needs a newer Lumen Box.")
    raise unsound(f"the tensor {quoted(name)} has the type {number}, which is no longer in use")


def _check_extent(tensors: tuple[Tensor, ...], header_size: int, data_offset: int, alignment: int, size: int) -> None:
    """The file ends with its last tensor; padding after it may be there or not."""
    least = data_offset + tensors[-1].offset + tensors[-1].size if tensors else header_size
    if size < least:
        raise unsound(f"it is {size} bytes long where its tensors need {least}")
    if size > padded(least, alignment):
        raise unsound(f"{size - least} bytes follow its last tensor")
