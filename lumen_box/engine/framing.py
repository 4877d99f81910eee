"""How messages become bytes: 4-byte length of the JSON, 4-byte length of the tail, the JSON, the tail.

A dataclass becomes an object whose member ``"="`` is its name. A member of type ``bytes`` travels in the tail, one
after the other, and the JSON holds its length. Reading checks every name and type, since the other end has parsed a
stranger's model: whatever does not fit is a ``ProtocolError``, and the worker that said it is ended.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import struct
import types
from collections.abc import Iterator
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import LumenError

MAX_JSON: Final = 64 * 1024 * 1024  # a prompt of 10 MB whose every character is written as an escape
MAX_TAIL: Final = 16 * 1024 * 1024  # the vectors of one step
HEAD: Final = struct.Struct(">II")
TAG: Final = "="


class ProtocolError(Exception):
    """The other end said something that is not a message."""


def pack(message: object, tail: bytes = b"") -> bytes:
    """One frame; ``tail`` is for what must never be in a message."""
    binary: list[bytes] = []
    body = json.dumps(_plain(message, binary), separators=(",", ":")).encode()
    tail += b"".join(binary)
    if len(body) > MAX_JSON or len(tail) > MAX_TAIL:
        raise ProtocolError("the message is too large")
    return HEAD.pack(len(body), len(tail)) + body + tail


def sizes(head: bytes) -> tuple[int, int]:
    """The lengths of JSON and tail, from the first 8 bytes of a frame."""
    body, tail = HEAD.unpack(head)
    if body > MAX_JSON or tail > MAX_TAIL:
        raise ProtocolError(f"a frame of {body} and {tail} bytes is too large")
    return body, tail


class Tail:
    """Binary members, taken in the order in which the message has them."""

    def __init__(self, data: bytes) -> None:
        self._data, self._taken = data, 0

    def take(self, size: int) -> bytes:
        if not 0 <= size <= self.left:
            raise ValueError("the tail is shorter than the message says")
        self._taken += size
        return self._data[self._taken - size : self._taken]

    @property
    def left(self) -> int:
        return len(self._data) - self._taken


def unpack(body: bytes, kind: Any, tail: bytes = b"") -> Any:
    """The message in ``body``, which must be of ``kind``: a dataclass or a union of some. ``tail`` holds its binary
    members and nothing else."""
    binary = Tail(tail)
    try:
        message = _typed(json.loads(body), kind, binary)
    except (ValueError, TypeError, KeyError, RecursionError, LumenError) as error:
        raise ProtocolError(f"a frame does not hold a message ({type(error).__name__})") from error
    if binary.left:
        raise ProtocolError("a frame has a longer tail than its message says")
    return message


class Frames:
    """Cuts a stream of bytes into frames: feed it what arrives, iterate over (JSON, tail)."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        self._buffer += data
        while len(self._buffer) >= HEAD.size:
            body, tail = sizes(bytes(self._buffer[: HEAD.size]))
            end = HEAD.size + body + tail
            if len(self._buffer) < end:
                return
            frame = bytes(self._buffer[HEAD.size : end])
            self._buffer[:end] = bytes(end)  # a tail is secret
            del self._buffer[:end]
            yield frame[:body], frame[body:]


def _plain(value: Any, binary: list[bytes]) -> Any:
    if dataclasses.is_dataclass(value):
        return {TAG: type(value).__name__} | {name: _plain(inner, binary) for name, inner in vars(value).items()}
    if isinstance(value, tuple):
        return [_plain(inner, binary) for inner in value]
    if isinstance(value, bytes):
        binary.append(value)
        return len(value)
    return value


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


@functools.cache
def _choices(kind: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _typed(value: Any, kind: Any, binary: Tail) -> Any:
    for choice in _choices(kind):
        if _fits(value, choice):
            return _converted(value, choice, binary)
    raise ValueError("no such message")


def _fits(value: Any, kind: Any) -> bool:
    origin = get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return isinstance(value, dict) and value.get(TAG) == getattr(kind, "__name__", None)
    if origin is Literal:
        return value in get_args(kind)
    if kind is float:
        return isinstance(value, float | int) and not isinstance(value, bool)
    if kind is int or kind is bytes:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, {tuple: list}.get(origin, origin) if origin else kind)


def _converted(value: Any, kind: Any, binary: Tail) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is bytes:
        return binary.take(value)
    if dataclasses.is_dataclass(kind):
        hints = _hints(kind)  # type: ignore[arg-type]
        return kind(**{name: _typed(inner, hints[name], binary) for name, inner in value.items() if name != TAG})  # type: ignore[operator]
    if origin is tuple and arguments[-1] is Ellipsis:
        return tuple(_typed(inner, arguments[0], binary) for inner in value)
    if origin is tuple:
        return tuple(_typed(inner, one, binary) for inner, one in zip(value, arguments, strict=True))
    if origin is dict:
        key, member = arguments
        return {_typed(name, key, binary): _typed(inner, member, binary) for name, inner in value.items()}
    return float(value) if kind is float else value
