"""The benchmarks' clients: what they read from a stream however it is cut, and what they call a failure."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks import clients
from benchmarks.clients import Address, Answer

OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def event(delta: dict[str, str], finish: str | None = None) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": delta, "finish_reason": finish}]}).encode() + b"\n\n"


USAGE = b"data: " + json.dumps({"choices": [], "usage": {"completion_tokens": 3}}).encode() + b"\n\n"
STREAM = (
    OK
    + chunk(event({"role": "assistant", "content": ""}))
    + chunk(event({"reasoning_content": "Hm"}) + b": still working\n\n")
    + chunk(event({"content": "Good"}) + event({"content": " day"}))
    + chunk(event({}, "length") + USAGE + b"data: [DONE]\n\n")
    + LAST
)


def asked(pieces: Sequence[bytes], **options: Any) -> tuple[Answer, bytes]:
    """What a client makes of these pieces, each sent for itself; and what the server was sent."""
    got = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        got.append(head + await reader.readexactly(length))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    async def ask() -> Answer:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            address = Address.of(f"http://127.0.0.1:{port}", "secret")
            return await clients.ask(address, [{"role": "user", "content": "Hello"}], 3, **options)

    answer = asyncio.run(ask())
    return answer, got[0]


@pytest.mark.parametrize("size", [1, 7, len(STREAM)])
def test_a_stream_is_read_however_it_is_cut(size: int) -> None:
    answer, _ = asked([STREAM[at : at + size] for at in range(0, len(STREAM), size)])
    assert (answer.text, answer.finish, answer.tokens, answer.failure) == ("HmGood day", "length", 3, "")
    assert len(answer.stamps) == 3 and answer.first > 0 and all(gap >= 0 for gap in answer.gaps)


def test_both_servers_are_asked_for_the_same_greedy_endless_answer() -> None:
    _, sent = asked([STREAM], top_logprobs=1)
    head, _, body = sent.partition(b"\r\n\r\n")
    assert b"Authorization: Bearer secret" in head and b"Connection: close" in head
    said = json.loads(body)
    assert said["temperature"] == 0 and said["ignore_eos"] and said["stream"] and said["max_tokens"] == 3
    assert said["top_logprobs"] == 1


@pytest.mark.parametrize(
    ("sent", "failure"),
    [
        (OK + chunk(b'data: {"error": {"code": "engine_lost"}}\n\n') + LAST, 'HTTP 200: {"code": "engine_lost"}'),
        (b"HTTP/1.1 429 Too Many\r\nContent-Length: 4\r\n\r\nfull", "HTTP 429: full"),
        (OK + chunk(event({"content": "Good"})), "the stream broke off"),
        (OK + chunk(event({}, "stop")) + LAST, "the stream broke off"),
        (b"", "HTTP 0: no answer"),
    ],
    ids=["error event", "refused", "cut", "no text", "hung up"],
)
def test_what_is_not_a_whole_answer_is_a_failure_with_its_reason(sent: bytes, failure: str) -> None:
    answer, _ = asked([sent])
    assert answer.failure == failure
    with pytest.raises(SystemExit, match="1 answers failed"):
        clients.refuse_failures([answer])


def test_in_a_closed_loop_everybody_asks_until_no_question_is_left() -> None:
    running: list[int] = []
    most = 0

    async def one(person: int) -> Answer:
        nonlocal most
        running.append(person)
        most = max(most, len(running))
        assert len(set(running)) == len(running), "nobody asks twice at once"
        await asyncio.sleep(0)
        running.remove(person)
        return Answer(0.0)

    answers, share = clients.run(clients.closed_loop(3, [one] * 7))
    assert (len(answers), most) == (7, 3) and share >= 0


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2), (0.75, 3), (0.76, 4), (0.99, 4), (1.0, 4), (0.0, 1)])
def test_percentiles_are_numbers_that_were_measured(share: float, expected: int) -> None:
    assert clients.percentile([3, 1, 4, 2], share) == expected
