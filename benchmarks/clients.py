"""Streaming clients for both servers: raw sockets in one event loop, so that asking takes little of the processor.

While the clock runs, bytes are only kept, with the time at which they came. They are parsed when all is over. Every
request has a connection of its own and asks for the usage, from which tokens are counted.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from lumen_box.schemas import sse

from .texts import Messages

CHAT: Final = "/v1/chat/completions"
PATIENCE: Final = 600.0  # seconds for one answer
GREEDY: Final = {"temperature": 0.0, "ignore_eos": True}


@dataclass(frozen=True)
class Address:
    """Where somebody asks, and as whom; ``token`` is empty where nobody needs one."""

    host: str
    port: int
    token: str = ""

    @classmethod
    def of(cls, url: str, token: str = "") -> Address:
        parts = urlsplit(url)
        if parts.hostname is None or parts.port is None:
            raise ValueError(f"{url} names no host and port")
        return cls(parts.hostname, parts.port, token)

    def request(self, path: str, body: Any) -> bytes:
        """The bytes of one HTTP/1.1 request whose answer ends with the connection."""
        data = json.dumps(body).encode()
        lines = [f"POST {path} HTTP/1.1", f"Host: {self.host}:{self.port}", "Connection: close"]
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
        lines += [f"Authorization: Bearer {self.token}"] if self.token else []
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


@dataclass(frozen=True)
class Answer:
    """What came back: when each piece of text came, and what the last events said. Times are ``perf_counter``'s."""

    sent: float
    status: int = 0
    stamps: tuple[float, ...] = ()
    text: str = ""
    finish: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def first(self) -> float:
        """Seconds to the first piece of text."""
        return self.stamps[0] - self.sent

    @property
    def gaps(self) -> list[float]:
        return [after - before for before, after in zip(self.stamps, self.stamps[1:], strict=False)]

    @property
    def tokens(self) -> int:
        """Tokens of the answer; one a piece where the stream was left before it could say."""
        return int(self.usage.get("completion_tokens", len(self.stamps)))

    @property
    def failure(self) -> str:
        """Why this is not a whole answer; empty where it is one."""
        if self.error or self.status != 200:
            return f"HTTP {self.status}: {self.error or 'no answer'}"
        return "" if self.finish and self.stamps else "the stream broke off"


class Stream(asyncio.Protocol):
    """One request and what comes back for it."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._pieces: list[tuple[float, bytes]] = []
        self._moved = asyncio.Event()
        self.events = 0  # events so far, roughly: pieces are not parsed here
        self.sent = 0.0
        self.transport: asyncio.Transport
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.sent = time.perf_counter()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._pieces.append((time.perf_counter(), data))
        self.events += data.count(b"data: ")
        self._moved.set()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
        self._moved.set()

    async def reach(self, events: int) -> bool:
        """Waits until about so many events have come; False if the stream ended before."""
        while self.events < events and not self.ended.done():
            self._moved.clear()
            await self._moved.wait()
        return self.events >= events

    def answer(self) -> Answer:
        """What has come, read."""
        return _read(self.sent, self._pieces)


async def open_stream(address: Address, messages: Messages, tokens: int, **options: Any) -> Stream:
    """Begins to ask; the caller waits for ``ended`` or leaves."""
    body = {"messages": messages, "max_tokens": tokens, **GREEDY, **options}
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    request = address.request(CHAT, body)
    loop = asyncio.get_running_loop()
    _, stream = await loop.create_connection(lambda: Stream(request), address.host, address.port)
    return stream


async def ask(address: Address, messages: Messages, tokens: int, **options: Any) -> Answer:
    """One whole answer."""
    stream = await open_stream(address, messages, tokens, **options)
    try:
        async with asyncio.timeout(PATIENCE):
            await stream.ended
    finally:
        stream.transport.abort()
    return stream.answer()


async def closed_loop(people: int, asks: Sequence[Callable[[int], Awaitable[Answer]]]) -> list[Answer]:
    """``people`` who each ask the next of ``asks`` as soon as they have their answer. ``asks`` take the person."""
    waiting = iter(asks)

    async def person(number: int) -> list[Answer]:
        return [await one(number) for one in waiting]

    return [answer for answers in await asyncio.gather(*map(person, range(people))) for answer in answers]


def run(work: Awaitable[Any]) -> tuple[Any, float]:
    """The result of ``work``, and the share of one core that this process took meanwhile."""

    async def timed() -> tuple[Any, float]:
        wall, processor = time.perf_counter(), time.process_time()
        result = await work
        return result, (time.process_time() - processor) / (time.perf_counter() - wall)

    return asyncio.run(timed())


def percentile(numbers: Iterable[float], share: float) -> float:
    """The nearest-rank percentile: the smallest number that ``share`` of them do not exceed."""
    ordered = sorted(numbers)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def refuse_failures(answers: Iterable[Answer]) -> None:
    """Ends the process where an answer is missing: numbers without it would mean something else."""
    if failures := [answer.failure for answer in answers if answer.failure]:
        raise SystemExit(f"{len(failures)} answers failed, the first: {failures[0]}")


def _read(sent: float, pieces: Sequence[tuple[float, bytes]]) -> Answer:
    reader = _Reader()
    for stamp, data in pieces:
        reader.feed(stamp, data)
    return reader.answer(sent)


class _Reader:
    """HTTP/1.1 head, then a body in chunks or up to the end, then events."""

    def __init__(self) -> None:
        self._buffer = b""
        self._status, self._chunked, self._plain = 0, False, b""
        self._decoder = sse.Decoder()
        self._stamps: list[float] = []
        self._text: list[str] = []
        self._finish, self._error = "", ""
        self._usage: dict[str, Any] = {}

    def feed(self, stamp: float, data: bytes) -> None:
        self._buffer += data
        if not self._status and not self._head():
            return
        for piece in self._body():
            if self._status != 200:
                self._plain += piece
                continue
            for event in self._decoder.feed(piece):
                self._take(stamp, event.data)

    def _head(self) -> bool:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return False
        self._status = int(head.split(b" ", 2)[1])
        self._chunked = b"transfer-encoding: chunked" in head.lower()
        self._buffer = rest
        return True

    def _body(self) -> Iterable[bytes]:
        if not self._chunked:
            piece, self._buffer = self._buffer, b""
            yield piece
            return
        while b"\r\n" in self._buffer:
            size, _, rest = self._buffer.partition(b"\r\n")
            length = int(size.split(b";")[0], 16)
            if len(rest) < length + 2:
                return
            self._buffer = rest[length + 2 :]
            yield rest[:length]

    def _take(self, stamp: float, data: str) -> None:
        if data == "[DONE]":
            return
        said = json.loads(data)
        if "error" in said:
            self._error = json.dumps(said["error"])
            return
        self._usage = said.get("usage") or self._usage
        for choice in said["choices"]:
            delta = choice["delta"]
            if text := (delta.get("content") or "") + (delta.get("reasoning_content") or ""):
                self._stamps.append(stamp)
                self._text.append(text)
            self._finish = choice["finish_reason"] or self._finish

    def answer(self, sent: float) -> Answer:
        error = self._error or self._plain.decode("utf-8", "replace")[:500]
        text = "".join(self._text)
        return Answer(sent, self._status, tuple(self._stamps), text, self._finish, self._usage, error)
