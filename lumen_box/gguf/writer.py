"""Writes GGUF version 3, as a stream: header first, then every tensor at its aligned place.

Nothing here is clever: the order given is the order written, tensors follow one another without gaps (llama.cpp
accepts no other layout), and a tensor whose bytes are not as many as its shape says stops the writing.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from .values import ALIGNMENT_KEY, DEFAULT_ALIGNMENT, FORMATS, MAGIC, VERSION, Scalar, TensorType, Value, ValueType
from .values import padded as _padded

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True)
class NewTensor:
    """A tensor to write. ``shape`` lists the fastest dimension first; ``data`` may be produced while it is written."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    data: Iterable[Buffer]

    @property
    def size(self) -> int:
        return self.type.bytes_of(self.shape)


def _string(words: str) -> bytes:
    raw = words.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def _array(items: ValueType, data: Sequence[Scalar]) -> bytes:
    head = struct.pack("<IQ", items, len(data))
    if items is ValueType.STRING:
        return head + b"".join(_string(cast(str, word)) for word in data)
    return head + struct.pack(f"<{len(data)}{FORMATS[items]}", *data)


def _value(value: Value) -> bytes:
    if value.type is ValueType.ARRAY:
        body = _array(cast(ValueType, value.items), cast(tuple[Scalar, ...], value.data))
    elif value.type is ValueType.STRING:
        body = _string(cast(str, value.data))
    else:
        body = struct.pack(f"<{FORMATS[value.type]}", value.data)
    return struct.pack("<I", value.type) + body


def alignment_of(metadata: Mapping[str, Value]) -> int:
    """The alignment that the metadata asks for, in bytes."""
    value = metadata.get(ALIGNMENT_KEY)
    return DEFAULT_ALIGNMENT if value is None else cast(int, value.data)


def header_bytes(metadata: Mapping[str, Value], tensors: Sequence[NewTensor]) -> bytes:
    """Everything before the first tensor's data, padded to the alignment."""
    alignment = alignment_of(metadata)
    parts = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(metadata))]
    parts += [_string(key) + _value(value) for key, value in metadata.items()]
    offset = 0
    for tensor in tensors:
        dims = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        parts.append(_string(tensor.name) + dims + struct.pack("<IQ", tensor.type.number, offset))
        offset += _padded(tensor.size, alignment)
    head = b"".join(parts)
    return head + bytes(_padded(len(head), alignment) - len(head))


def stream_gguf(metadata: Mapping[str, Value], tensors: Sequence[NewTensor]) -> Iterator[Buffer]:
    """The whole file piece by piece; pieces are as long as the tensors' producers make them.

    Raises:
        ValueError: a tensor's data is shorter or longer than its shape says.
    """
    alignment = alignment_of(metadata)
    yield header_bytes(metadata, tensors)
    for tensor in tensors:
        written = 0
        for piece in tensor.data:
            written += len(piece)
            yield piece
        if written != tensor.size:
            raise ValueError(f"tensor {tensor.name} has {written} bytes where {tensor.size} are due")
        yield bytes(_padded(written, alignment) - written)


def file_size(metadata: Mapping[str, Value], tensors: Sequence[NewTensor]) -> int:
    """Bytes that :func:`stream_gguf` yields in all."""
    alignment = alignment_of(metadata)
    return len(header_bytes(metadata, tensors)) + sum(_padded(tensor.size, alignment) for tensor in tensors)


def write_gguf(path: Path, metadata: Mapping[str, Value], tensors: Sequence[NewTensor]) -> None:
    """Writes a new private file at ``path``, which must not exist. Not durable: that is the caller's business."""
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        for piece in stream_gguf(metadata, tensors):
            file.write(piece)
