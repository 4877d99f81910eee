"""Server-sent events, as the WHATWG HTML standard defines their stream: writing them, and reading them in pieces.

Only what Lumen Box sends is written (one ``data`` line an event); everything the standard allows is read, up to a cap
on the size of one event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..errors import Damaged

MEDIA_TYPE = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": still working\n\n"  # a comment: readers skip it, proxies see life
MAX_EVENT = 4 * 1024 * 1024
_WAITING = re.compile(r"waiting, (\d{1,9}) ahead")


@dataclass(frozen=True)
class Event:
    data: str
    event: str = "message"
    id: str = ""


def encode(data: bytes, *, event: str = "", id: str = "") -> bytes:
    """One event. ``data`` must hold no line end, which compact JSON never does."""
    if b"\n" in data or b"\r" in data:
        raise ValueError("the data of an event must be one line")
    head = (f"event: {event}\n" if event else "") + (f"id: {id}\n" if id else "")
    return head.encode() + b"data: " + data + b"\n\n"


def waiting(ahead: int) -> bytes:
    """A comment that says how many requests will be begun before this one: only our own client reads it."""
    return b": waiting, %d ahead\n\n" % ahead


def waiting_in(comment: str) -> int | None:
    """The number that :func:`waiting` wrote; None for any other comment."""
    found = _WAITING.fullmatch(comment)
    return int(found[1]) if found else None


class Decoder:
    """Takes the stream in pieces of any size, cut anywhere, and gives whole events; ``on_comment`` hears the rest."""

    def __init__(self, max_event: int = MAX_EVENT, on_comment: Callable[[str], None] = lambda _: None) -> None:
        self._max, self._on_comment = max_event, on_comment
        self._buffer = b""
        self._data: list[str] = []
        self._size = 0
        self._event = self._id = ""

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The events that ``piece`` completes; ``Damaged`` for one larger than the cap."""
        self._buffer += piece
        while (line := self._line()) is not None:
            if (event := self._take(line)) is not None:
                yield event
        if len(self._buffer) + self._size > self._max:
            raise Damaged(f"An event of the stream is larger than the {self._max} bytes allowed for it.")

    def _line(self) -> bytes | None:
        """The next whole line: LF, CRLF or CR ends it. A CR at the very end waits: an LF may follow."""
        ends = [at for at in (self._buffer.find(b"\n"), self._buffer.find(b"\r")) if at >= 0]
        if not ends or (self._buffer[min(ends)] == 0x0D and min(ends) == len(self._buffer) - 1):
            return None
        at = min(ends)
        width = 2 if self._buffer[at : at + 2] == b"\r\n" else 1
        line, self._buffer = self._buffer[:at], self._buffer[at + width :]
        return line

    def _take(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._size += len(line)
            if self._size > self._max:
                raise Damaged(f"An event of the stream is larger than the {self._max} bytes allowed for it.")
        elif not name:
            self._on_comment(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        return None

    def _dispatch(self) -> Event | None:
        data, self._data, self._size = self._data, [], 0
        event, self._event = self._event or "message", ""
        return Event("\n".join(data), event, self._id) if data else None
