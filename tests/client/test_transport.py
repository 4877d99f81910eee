"""Our own client: errors as classes, nobody there, broken streams, and nothing sent elsewhere."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lumen_box.api.app import create_app
from lumen_box.client.chat import Delta, stream_chat
from lumen_box.client.transport import answers, connect
from lumen_box.engine.protocol import Tokens
from lumen_box.errors import Damaged, GatewayUnreachable, Interrupted, LumenError, NoModel, Sealed, TooLong

from ..api.fakes import FakeBox, babbles, finished, refuses, says
from ..api.http import USER, run


async def asked(box: FakeBox, **options: Any) -> list[Delta]:
    async with connect(app=create_app(box)) as client:
        return [delta async for delta in stream_chat(client, [USER], **options)]


def test_an_answer_comes_piece_by_piece_with_its_usage() -> None:
    box = FakeBox()
    box.model.script = says(Tokens(0, (1,), "", "hm"), "Hel", "lo", end=finished("length"))
    deltas = run(asked(box, max_tokens=3, seed=7, model=None))
    assert [(one.text, one.reasoning) for one in deltas if one.text or one.reasoning] == [
        ("", "hm"), ("Hel", ""), ("lo", "")
    ]  # fmt: skip
    assert [one.finish for one in deltas if one.finish] == ["length"]
    assert deltas[-1].usage["total_tokens"] == 8
    assert box.model.request.max_tokens == 3 and box.model.request.sampling.seed == 7


@pytest.mark.parametrize(
    ("box", "script", "raised"),
    [
        (FakeBox(sealed=True), None, Sealed),
        (FakeBox(), refuses(TooLong("900 of 512")), TooLong),
        (FakeBox(), says("Hel", end=NoModel("gone")), NoModel),
    ],
)
def test_what_the_gateway_raised_is_raised_here(box: FakeBox, script: Any, raised: type[LumenError]) -> None:
    box.model.script = script or box.model.script
    with pytest.raises(raised):
        run(asked(box))


def test_leaving_early_ends_the_answer_in_process_too() -> None:
    box = FakeBox()
    box.model.script = babbles("x")

    async def scene() -> None:
        async with connect(app=create_app(box)) as client:
            stream = stream_chat(client, [USER])
            await anext(stream)
            await stream.aclose()
            assert box.model.answers[0].cancelled.is_set()

    run(scene())


@pytest.mark.parametrize("text", ["é", "\U0001f642", "half \ud83d", '"\\\n'])
def test_any_text_arrives(text: str) -> None:
    box = FakeBox()

    async def scene() -> None:
        async with connect(app=create_app(box)) as client:
            async for _ in stream_chat(client, [{"role": "user", "content": text}]):
                pass

    run(scene())
    assert box.model.rendered[0][0]["content"] == text.replace("\ud83d", "?")


def test_nobody_there(tmp_path: Path) -> None:
    async def scene() -> None:
        for target in ({"socket": tmp_path / "none.sock"}, {"url": "http://127.0.0.1:1"}):
            async with connect(**target) as client:
                assert not await answers(client)
                with pytest.raises(GatewayUnreachable) as caught:
                    await client.get("/v1/models")
                assert caught.value.exit_code == 30 and "lumen-box serve" in str(caught.value)

    run(scene())


def scripted(reply: bytes) -> tuple[str, Any]:
    """A server that says ``reply`` to whoever connects, then hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        writer.close()

    listener = socket.create_server(("127.0.0.1", 0))
    return f"http://127.0.0.1:{listener.getsockname()[1]}", asyncio.start_server(serve, sock=listener)


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("reply", "raised"),
    [
        (b"", GatewayUnreachable),
        (b"nonsense", GatewayUnreachable),
        (b"HTTP/1.1 502 Bad\r\ncontent-length: 3\r\n\r\nbad", LumenError),
        (STREAM, Interrupted),
        (STREAM + b'data: {"choices":[]}\n\n', Interrupted),
        (STREAM + b"data: nonsense\n\n", Damaged),
        (STREAM + b"data: [1]\n\n", Damaged),
        (STREAM + b"data: {}\n\n", Damaged),
        (CHUNKED + b"5\r\ndata:", GatewayUnreachable),
        (b"HTTP/1.1 302 Found\r\nlocation: http://elsewhere.invalid/\r\ncontent-length: 0\r\n\r\n", Interrupted),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_gateway_that_talks_nonsense_or_breaks_off(reply: bytes, raised: type[LumenError]) -> None:
    async def scene() -> None:
        url, starting = scripted(reply)
        async with await starting, connect(url=url) as client:
            with pytest.raises(raised):
                async for _ in stream_chat(client, [USER]):
                    pass

    run(scene())


def test_work_whose_report_breaks_off_is_no_success() -> None:
    async def scene() -> None:
        url, starting = scripted(STREAM + b'{"step":"x"}\n')
        async with await starting, connect(url=url) as client:
            with pytest.raises(Interrupted):
                await client.work("/api/work")

    run(scene())


def test_a_proxy_in_the_environment_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        proxy, starting_proxy = scripted(b'HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"proxy"')
        box, starting_box = scripted(b'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"box"')
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy)
        async with await starting_proxy, await starting_box, connect(url=box) as client:
            assert await client.get("/health/live") == "box"

    run(scene())


def test_importing_the_client_is_cheap_and_needs_no_server() -> None:
    code = (
        "import sys, lumen_box.client.chat, lumen_box.client.transport, lumen_box.schemas.admin;"
        "heavy = {'httpx', 'pydantic', 'pydantic_core', 'fastapi', 'starlette', 'uvicorn', 'cryptography', 'numpy'};"
        "print(sorted(heavy & set(sys.modules)), [m for m in sys.modules if m.startswith('lumen_box.api')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "[] []"
