"""A model's file or files as one stream of bytes.

A split model (``name-00001-of-00003.gguf`` …) becomes the single file it was cut from: metadata of the first part
without its ``split.`` keys, then the tensors of all parts in order. Nothing is written here and nothing is held in
memory but the headers. A set that is not complete, or whose parts do not belong together, is refused.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ..errors import NotFound, PartMissing, UsageError
from .limits import MAX_SPLITS, MiB
from .model import Gguf, Tensor, quoted, unsound
from .reader import read_header, read_structure
from .writer import NewTensor, file_size, header_bytes, stream_gguf

PIECE = MiB
PART_NAME = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)


@dataclass(frozen=True)
class File:
    """An open file and its size when it was opened."""

    fd: int
    size: int

    def read(self, offset: int, count: int) -> bytes:
        """``count`` bytes at ``offset``, fewer at the end of the file."""
        return os.pread(self.fd, count, offset)

    def pieces(self, offset: int, count: int) -> Iterator[bytes]:
        """``count`` bytes from ``offset`` on, in pieces; ``Damaged`` if the file has become shorter."""
        while count:
            piece = self.read(offset, min(PIECE, count))
            if not piece:
                raise unsound("it became shorter while it was read")
            yield piece
            offset, count = offset + len(piece), count - len(piece)


class Model:
    """A whole model, opened: ``gguf`` is its checked header, ``size`` the bytes of :meth:`stream`."""

    def __init__(self, path: Path) -> None:
        """Opens ``path`` and, where it is part of a split model, all other parts beside it.

        Raises:
            NotFound: there is no such file. UsageError: it is not a regular file.
            PartMissing: a part of a split model is not there, named.
            Damaged, TooNew: as :func:`~lumen_box.gguf.reader.read_header`.
        """
        with ExitStack() as stack:
            self.paths = merge_plan(path)
            self._files = [_open(part, stack) for part in self.paths]
            if len(self._files) == 1:
                only = self._files[0]
                self.gguf, self.size = read_header(only.read, only.size), only.size
            else:
                self.gguf, self.size = self._merge()
            self._stack = stack.pop_all()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._stack.close()

    def stream(self) -> Iterator[bytes | bytearray | memoryview]:
        """The bytes of the whole model, in pieces of at most a MiB apart from the header."""
        if len(self._files) == 1:
            return self._files[0].pieces(0, self.size)
        return stream_gguf(self._metadata, _joined(self._parts, self._files))

    def _merge(self) -> tuple[Gguf, int]:
        self._parts = [read_structure(file.read, file.size) for file in self._files]
        _check_set(self._parts)
        first = self._parts[0].metadata
        self._metadata = {key: value for key, value in first.items() if not key.startswith("split.")}
        tensors = _joined(self._parts, self._files)
        header, size = header_bytes(self._metadata, tensors), file_size(self._metadata, tensors)
        return read_header(lambda offset, count: header[offset : offset + count], size), size


def merge_plan(path: Path) -> list[Path]:
    """The files of the model that ``path`` is a part of, in order; ``[path]`` for a model in one file."""
    with ExitStack() as stack:
        file = _open(path, stack)
        count = read_structure(file.read, file.size).split_count
    if count <= 1:
        return [path]
    match = PART_NAME.fullmatch(path.name)
    if match is None or int(match["count"]) != count or count > MAX_SPLITS:
        raise unsound(f"it is one of {count} files, but its name {quoted(path.name)} does not say which")
    paths = [path.with_name(f"{match['stem']}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]
    for part in paths:
        if not part.exists():
            raise PartMissing(f"The file {part.name} of the split model is missing.", then="Put it beside the others.")
    return paths


def _open(path: Path, stack: ExitStack) -> File:
    try:
        # Non-blocking, so that a FIFO is refused below and not waited for.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.", then="Check the path.") from None
    stack.callback(os.close, fd)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path} is not a regular file.", then="Give the path of a GGUF file.")
    return File(fd, status.st_size)


def _check_set(parts: Sequence[Gguf]) -> None:
    names: set[str] = set()
    for number, part in enumerate(parts):
        if part.integer("split.no") != number or part.split_count != len(parts):
            raise unsound(f"part {number + 1} of the split model says that it is another one")
        for tensor in part.tensors:
            if tensor.name in names:
                raise unsound(f"the tensor {quoted(tensor.name)} is in two parts of the split model")
            names.add(tensor.name)
    due = parts[0].integer("split.tensors.count")
    if due != len(names):
        raise unsound(f"the split model has {len(names)} tensors where {due} are due")


def _joined(parts: Sequence[Gguf], files: Sequence[File]) -> list[NewTensor]:
    return [
        NewTensor(tensor.name, tensor.shape, tensor.type, _data(part, file, tensor))
        for part, file in zip(parts, files, strict=True)
        for tensor in part.tensors
    ]


def _data(part: Gguf, file: File, tensor: Tensor) -> Iterator[bytes]:
    return file.pieces(part.data_offset + tensor.offset, tensor.size)
