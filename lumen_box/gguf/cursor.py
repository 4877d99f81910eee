"""Reads the fields of a header one after another, through a window over a ``read(offset, size)`` callable.

The callable may return less than it was asked for, as long as the field that is due is there. No field is fetched
before it is known to lie inside the file and inside the header's cap, so a hostile length costs one comparison.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from ..errors import Damaged
from .limits import Limits, MiB
from .model import unsound
from .values import FORMATS, ValueType

Read = Callable[[int, int], bytes]
WINDOW = MiB

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class Cursor:
    """A position in the header; every method reads on from it and moves it."""

    def __init__(self, read: Read, size: int, limits: Limits) -> None:
        self._read, self._size, self._limits = read, size, limits
        self._end = min(size, limits.header_bytes)
        self._base, self._window = 0, b""
        self.at = 0

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        start = self.at - self._base
        if start + count > len(self._window):
            self._refill(count)
            start = 0
        self.at += count
        return self._window[start : start + count]

    def _refill(self, count: int) -> None:
        if count > self._end - self.at:
            raise self._beyond(count)
        want = min(max(count, WINDOW), self._end - self.at)
        window = self._read(self.at, want)
        if len(window) < count:
            raise unsound(f"it ends at byte {self.at + len(window)} where {self._size} bytes were promised")
        self._base, self._window = self.at, window

    def _beyond(self, count: int) -> Damaged:
        if count > self._size - self.at:
            return unsound(f"it ends inside its header: {count} bytes are due at byte {self.at} of {self._size}")
        return unsound(f"its header is larger than {self._limits.header_bytes // MiB} MiB")

    def u32(self) -> int:
        number: int = _U32.unpack(self.take(4))[0]
        return number

    def u64(self) -> int:
        number: int = _U64.unpack(self.take(8))[0]
        return number

    def string(self, cap: int, what: str) -> str:
        """A counted UTF-8 string of at most ``cap`` bytes."""
        length: int = _U64.unpack(self.take(8))[0]
        if length > cap:
            raise unsound(f"{what} is {length} bytes long; at most {cap} are allowed")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise unsound(f"{what} is not valid UTF-8") from error

    def numbers(self, kind: ValueType, count: int, what: str) -> tuple[int | float | bool, ...]:
        """``count`` numbers of one type; the caller has capped ``count``."""
        raw = self.take(count * struct.calcsize(f"<{FORMATS[kind]}"))
        if kind is ValueType.BOOL and raw.translate(None, b"\0\1"):
            raise unsound(f"{what} holds a truth value other than 0 or 1")
        return struct.unpack(f"<{count}{FORMATS[kind]}", raw)
