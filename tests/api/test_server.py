"""The gateway on real sockets: who connects, who leaves, who is slow, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lumen_box.api import answer, body, http
from lumen_box.api.server import bind_tcp
from lumen_box.client.chat import stream_chat
from lumen_box.client.transport import answers, connect
from lumen_box.errors import GatewayUnreachable, Unauthenticated, UsageError
from lumen_box.schemas.errors import QueueFull, Stopping, Withdrawn

from .fakes import FakeBox, babbles, hangs
from .gateway import request, served, until
from .http import CHAT, USER, run


def test_the_socket_knows_its_peer_and_tcp_wants_a_token(tmp_path: Path) -> None:
    async def scene() -> None:
        async with served(FakeBox(), tmp_path) as gateway:
            async with connect(socket=gateway.bound.socket) as client:
                assert [delta.text async for delta in stream_chat(client, [USER])][:3] == ["", "Hel", "lo"]
                assert "lumen_ready 1" in await client.text("/metrics")
            async with connect(url=gateway.bound.url, token="chat-token") as client:
                assert (await client.post("/v1/chat/completions", CHAT))["choices"][0]["message"]["content"] == "Hello"
            async with connect(url=gateway.bound.url) as client:
                assert await answers(client)
                with pytest.raises(Unauthenticated):
                    await client.post("/v1/chat/completions", CHAT)

    run(scene())


def test_sockets_are_the_owners_alone_and_vanish_with_the_gateway(tmp_path: Path) -> None:
    async def scene() -> list[Path]:
        async with served(FakeBox(), tmp_path) as gateway:
            paths = [gateway.bound.socket, gateway.handover]
            for path in paths:
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
            return paths

    for path in run(scene()):
        assert not path.exists()


def test_a_home_may_lie_deep_and_a_dead_gateways_socket_is_replaced(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-folder-with-a-rather-long-name"] * 6)
    deep.mkdir(parents=True)
    left = socket.socket(socket.AF_UNIX)
    fd = os.open(deep, os.O_PATH)
    left.bind(f"/proc/self/fd/{fd}/gateway.sock")
    left.close()
    os.close(fd)

    async def scene() -> None:
        async with connect(socket=deep / "gateway.sock") as client:
            assert not await answers(client)
        async with served(FakeBox(), deep) as gateway, connect(socket=gateway.bound.socket) as client:
            assert await answers(client)

    run(scene())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_without_tls_only_the_loopback_is_listened_at(host: str) -> None:
    with pytest.raises(UsageError):
        bind_tcp(host, 0)


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    with bind_tcp("127.0.0.1", 0) as taken, pytest.raises(UsageError, match="cannot listen"):
        bind_tcp("localhost", taken.getsockname()[1])


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("accepted", [True, False])
def test_a_dropped_connection_cancels_the_generation_also_while_queued(
    tmp_path: Path, stream: bool, accepted: bool
) -> None:
    box = FakeBox()
    box.model.script = hangs("Hel", accepted=True) if accepted else hangs(accepted=False)

    async def scene() -> None:
        async with served(box, tmp_path) as gateway:
            reader, writer = await gateway.tcp()
            writer.write(request(body=CHAT | {"stream": stream}))
            await until(lambda: box.model.answers)
            if stream and accepted:
                await reader.readuntil(b'"Hel"')
            generations = gateway.app.state.generations
            assert len(generations.live) == 1 and generations.waiting == (not accepted)
            writer.close()
            await until(lambda: box.model.answers[0].cancelled.is_set(), 1.0)
            await until(lambda: not generations.live)

    run(scene())


def test_a_full_queue_says_when_to_come_back(tmp_path: Path) -> None:
    box = FakeBox(places=1, queue=1)
    box.model.script = hangs("x")

    async def scene() -> None:
        async with served(box, tmp_path) as gateway:
            waiting = [(await gateway.tcp())[1] for _ in range(2)]
            for writer in waiting:
                writer.write(request())
            await until(lambda: len(box.model.answers) == 2)
            reader, writer = await gateway.tcp()
            writer.write(request())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 429") and b"retry-after: " in head
            async with connect(socket=gateway.bound.socket) as client:
                with pytest.raises(QueueFull) as full:
                    await client.post("/v1/chat/completions", CHAT)
                assert full.value.exit_code == 32
            for one in (*waiting, writer):
                one.close()
            await until(lambda: not gateway.app.state.generations.live)

    run(scene())


def test_a_client_that_takes_nothing_loses_its_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer.AnswerResponse.__init__, "__kwdefaults__", {"patience": 0.3})
    box = FakeBox()
    box.model.script = babbles("x" * 10_000)

    async def scene() -> None:
        async with served(box, tmp_path) as gateway:
            slow = socket.create_connection(("127.0.0.1", gateway.port))
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.sendall(request(body=CHAT | {"stream": True}))
            await until(lambda: box.model.answers)
            reader, writer = await gateway.tcp()  # meanwhile another one is served
            writer.write(request("/v1/completions", {"prompt": "x", "stream": True}))
            await asyncio.wait_for(reader.readuntil(b"xxxx"), 2)
            await until(lambda: box.model.answers[0].cancelled.is_set())
            writer.close()
            await until(lambda: not gateway.app.state.generations.live)
            slow.close()

    run(scene())


def test_a_request_whose_head_never_ends_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http.GatewayProtocol, "head_seconds", 0.2)

    async def scene() -> None:
        async with served(FakeBox(), tmp_path) as gateway:
            for beginning in (b"", b"GET /health/live HTTP/1.1\r\nHost: local"):
                reader, writer = await gateway.tcp()
                writer.write(beginning)
                with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                    await asyncio.wait_for(reader.readexactly(1), 2)
                writer.close()
            # a kept-alive connection that pauses between two requests is not one of these
            reader, writer = await gateway.tcp()
            for _ in range(2):
                writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
                await asyncio.wait_for(reader.readuntil(b'"live"}'), 2)
                await asyncio.sleep(0.3)
            writer.close()

    run(scene())


def test_a_body_that_never_arrives_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body.JsonBody, "seconds", 0.2)
    box = FakeBox()

    async def scene() -> None:
        async with served(box, tmp_path) as gateway:
            reader, writer = await gateway.tcp()
            writer.write(request(**{"Content-Length": "100000"}))
            assert (await asyncio.wait_for(reader.readline(), 2)).startswith(b"HTTP/1.1 408")
            writer.close()

    run(scene())


def test_what_a_stranger_goes_on_sending_after_the_answer_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or anybody could hold a connection for ever: each byte stops the server's timer for idle ones."""
    monkeypatch.setattr(http.GatewayProtocol, "discard_seconds", 0.4)
    unheard = b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\n"

    async def scene() -> None:
        async with served(FakeBox(), tmp_path) as gateway:
            reader, writer = await gateway.tcp()
            writer.write(unheard)
            await asyncio.wait_for(reader.readuntil(b"}}"), 2)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                for _ in range(7):
                    writer.write(b"x")
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(reader.readexactly(1), 0.1)
            writer.close()
            # whoever comes to an end in time goes on, for as long as the next answer takes
            reader, writer = await gateway.tcp()
            writer.write(unheard)
            await asyncio.wait_for(reader.readuntil(b"}}"), 2)
            writer.write(b"x" * 8 + request())
            assert b"Hello" in await asyncio.wait_for(reader.readuntil(b"Hello"), 2)
            await asyncio.sleep(0.5)
            writer.write(request())
            assert b"Hello" in await asyncio.wait_for(reader.readuntil(b"Hello"), 2)
            writer.close()

    run(scene())


def test_ten_megabytes_over_a_real_connection_get_their_413(tmp_path: Path) -> None:
    async def scene() -> None:
        async with served(FakeBox(), tmp_path) as gateway:
            reader, writer = await gateway.tcp()
            writer.write(request(body={"messages": "x" * 10_000_000}))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            assert head.startswith(b"HTTP/1.1 413")
            writer.close()

    run(scene())


@pytest.mark.parametrize(
    "raw",
    [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
     b"GET /" + b"x" * 70_000, b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
     b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc"],
    ids=lambda raw: str(raw[:40]),
)  # fmt: skip
def test_no_http_gets_400_and_the_next_is_served(tmp_path: Path, raw: bytes) -> None:
    async def scene() -> None:
        async with served(FakeBox(), tmp_path) as gateway:
            reader, writer = await gateway.tcp()
            writer.write(raw)
            line = await asyncio.wait_for(reader.readline(), 2)
            assert line.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401", b"HTTP/1.1 421"))
            writer.close()
            async with connect(socket=gateway.bound.socket) as client:
                assert await answers(client)

    run(scene())


def test_strangers_cannot_use_up_the_sockets_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_TCP_CONNECTIONS", 3)

    async def scene() -> None:
        async with served(FakeBox(), tmp_path) as gateway:
            held = [await gateway.tcp() for _ in range(3)]
            reader, writer = await gateway.tcp()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(reader.readexactly(1), 2)
            async with connect(socket=gateway.bound.socket) as client:
                assert await answers(client)
            for _, one in (*held, (reader, writer)):
                one.close()

    run(scene())


def test_strangers_leave_room_for_everything_else_where_few_files_may_be_open(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def scene() -> None:
        async with served(FakeBox(), tmp_path) as gateway:
            resource.setrlimit(resource.RLIMIT_NOFILE, (http.OTHER_DESCRIPTORS + 3, before[1]))
            held = [await gateway.tcp() for _ in range(6)]
            ended = [reader.at_eof() or await _ends(reader) for reader, _ in held]
            assert ended == [False] * 3 + [True] * 3
            for _, writer in held:
                writer.close()

    try:
        run(scene())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def _ends(reader: asyncio.StreamReader) -> bool:
    """Whether the other end hangs up at once."""
    try:
        return await asyncio.wait_for(reader.read(1), 0.3) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def test_a_revoked_token_ends_its_live_stream_with_a_plain_error(tmp_path: Path) -> None:
    box = FakeBox()
    box.model.script = hangs("Hel")

    async def scene() -> None:
        async with served(box, tmp_path) as gateway, connect(url=gateway.bound.url, token="chat-token") as client:
            stream = stream_chat(client, [USER])
            assert [(await anext(stream)).text for _ in range(2)] == ["", "Hel"]
            box.tokens.revoked.add("chat-token")
            with pytest.raises(Withdrawn):
                async with asyncio.timeout(1.0):
                    await anext(stream)
            with pytest.raises(Unauthenticated):
                await client.post("/v1/chat/completions", CHAT)

    run(scene())


def test_stopping_tells_live_streams_and_takes_nothing_new(tmp_path: Path) -> None:
    box = FakeBox()
    box.model.script = hangs("Hel")

    async def scene() -> None:
        async with served(box, tmp_path, grace=0.5) as gateway, connect(socket=gateway.bound.socket) as client:
            stream = stream_chat(client, [USER])
            assert [(await anext(stream)).text for _ in range(2)] == ["", "Hel"]
            gateway.gateway.stop()
            await asyncio.sleep(0.05)
            async with connect(socket=gateway.bound.socket) as other:
                with pytest.raises(Stopping):
                    await other.post("/v1/chat/completions", CHAT)
            with pytest.raises(Stopping):
                await anext(stream)
            await asyncio.wait_for(gateway.task, 5)
        async with connect(socket=tmp_path / "gateway.sock") as client:
            with pytest.raises(GatewayUnreachable):
                await client.get("/health/live")

    run(scene())


def test_a_second_signal_skips_the_grace(tmp_path: Path) -> None:
    box = FakeBox()
    box.model.script = hangs("Hel")

    async def scene() -> None:
        async with served(box, tmp_path, grace=3600) as gateway:
            _, writer = await gateway.tcp()
            writer.write(request())
            await until(lambda: box.model.answers)
            gateway.gateway.stop()
            await asyncio.sleep(0.05)
            assert not gateway.task.done()
            gateway.gateway.stop()
            await asyncio.wait_for(asyncio.shield(gateway.task), 3)
            writer.close()

    run(scene())


PROGRAM = """
import asyncio, sys
from pathlib import Path
from lumen_box.api.app import create_app
from lumen_box.api.server import Gateway, Listen
from tests.api.fakes import FakeBox, hangs

async def main(folder):
    box = FakeBox()
    box.model.script = hangs("Hel")
    listen = Listen(folder / "gateway.sock", folder / "handover.sock")
    await Gateway(create_app(box), listen, grace=3600).run(lambda bound: print(bound.url, flush=True))

asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_signal_ends_the_process_well_and_a_second_one_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(request(body=CHAT | {"stream": True}))
            seen = b""
            while b"Hel" not in seen:
                seen += connection.recv(4096)
            process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):  # an answer is under way
                process.wait(0.3)
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == 0
            while piece := connection.recv(4096):
                seen += piece
    assert b'"code":"stopping"' in seen and not list(tmp_path.iterdir())
