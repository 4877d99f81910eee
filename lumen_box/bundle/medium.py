"""Reading a medium, on which nothing is trusted.

A medium may be changed while it is read, so every byte is read once: whoever needs it gets the very bytes that were
checked. Targets and segments are handed out only with their signed hash verified; metadata and recipient files are
judged by those who ask for them. What is missing is None, or ``PartMissing`` with a name where another medium of the
same export may hold it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import Damaged, NotFound, TooNew
from . import layout, limits
from .files import names_in, open_below, read_small
from .manifest import StoredObject
from .parts import Room, fresh, missing, read_part

_AGAIN = "Use an intact copy, or ask the publisher for a new one."


class Medium:
    """One medium, open for reading; a context manager.

    Args:
        root: a descriptor of ``lumen-medium/v1``, which the medium then owns.
    """

    def __init__(self, root: int) -> None:
        self._root = root

    @classmethod
    def open(cls, where: Path | int) -> Self:
        """The medium at ``where``: a path, or an open folder's descriptor, of the mount point or its lumen-medium/.

        Raises ``NotFound`` where there is no medium, ``TooNew`` where there is only one of another version.
        """
        try:
            top = os.dup(where) if isinstance(where, int) else os.open(where, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            raise _no_medium(where) from None
        try:
            return cls(_find(top, where))
        finally:
            os.close(top)

    def close(self) -> None:
        os.close(self._root)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def publishers(self) -> list[str]:
        """The ids of the publishers that claim to be on this medium; whatever has another kind of name is ignored."""
        return [name for name in names_in(self._root) if re.fullmatch(layout.HEX32, name)]

    def fetch_metadata(self, publisher: str, name: str) -> bytes | None:
        """A file of ``metadata/``, or None."""
        names = (layout.publisher_id(publisher), layout.METADATA, layout.metadata_name(name))
        return read_small(self._root, names, limits.MAX_METADATA)

    def target(self, publisher: str, path: str, sha256: str) -> bytes:
        """The target ``path`` with the signed hash ``sha256``; ``Damaged`` if it is missing or has another hash."""
        names = (layout.publisher_id(publisher), layout.TARGETS, *layout.target_file(path, sha256))
        data = read_small(self._root, names, limits.MAX_TARGET)
        if data is None:
            raise Damaged(f"The medium lacks the file {path}, which its metadata names.", then=_AGAIN)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise Damaged(f"The file {path} on the medium is not the one that was signed.", then=_AGAIN)
        return data

    def recipient(self, publisher: str, object_id: str, key_id: str) -> bytes | None:
        """The recipient file of an object for the box whose recipient key has this id, or None."""
        names = (*self._object(publisher, object_id), layout.RECIPIENTS, layout.key_id(key_id))
        return read_small(self._root, names, limits.MAX_RECIPIENT)

    def segments(
        self, publisher: str, stored: StoredObject, start: int = 0, room: Room = fresh
    ) -> Iterator[tuple[int, memoryview]]:
        """Every segment from number ``start`` on, in order, as stored and with its hash verified, where ``room`` says.

        At most one segment is held at a time, 64 MiB. Raises ``PartMissing`` at the first part that is not here;
        ``Damaged`` for a part of another length, or a segment with another hash, after the sound ones before it.
        """
        slices = stored.slices
        for part in range(slices.part_of(start), slices.parts + 1):
            folder = open_below(self._root, self._object(publisher, stored.id), directory=True)
            if folder is None:
                raise missing(part, stored)
            try:
                yield from read_part(folder, stored, part, start, room)
            finally:
                os.close(folder)

    def _object(self, publisher: str, object_id: str) -> tuple[str, ...]:
        return layout.publisher_id(publisher), layout.OBJECTS, layout.object_id(object_id)


def _find(top: int, where: Path | int) -> int:
    """``lumen-medium/v1`` below ``top``, or ``v1`` where ``top`` is lumen-medium itself."""
    for names in ((layout.TOP, layout.VERSION), (layout.VERSION,)):
        root = open_below(top, names, directory=True)
        if root is not None:
            return root
    medium = open_below(top, (layout.TOP,), directory=True)
    if medium is None:
        raise _no_medium(where)
    os.close(medium)
    raise TooNew(
        "The medium is of a version that this Lumen Box does not know.",
        kept="Nothing was changed.",
        then="Update Lumen Box first, then try again.",
    )


def _no_medium(where: Path | int) -> NotFound:
    named = "that folder" if isinstance(where, int) else str(where)
    return NotFound(
        f"There is no Lumen Box medium in {named}.",
        kept="Nothing was changed.",
        then=f"Name the folder where it is mounted, or {layout.TOP} below it; `findmnt` shows what is.",
    )
