"""What can befall a gateway over the real engine: faults in the middle of many streams, a rush, odd sizes, and clients
that are slow or gone."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import signal
import socket
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from lumen_box.engine.protocol import Generate
from lumen_box.engine.supervisor import Engine
from lumen_box.errors import NoModel

from ..engine.support import PATIENCE, encrypt
from ..support.tiny_model import write_tiny_model
from .gateway import Served, request, until
from .real import real

STREAMS = 32
CONTEXT = 2048
LONG: dict[str, Any] = {"stream": True, "ignore_eos": True, "max_tokens": CONTEXT - 64}
PLACES, QUEUE, RUSH = 4, 100, 1000


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encrypt(write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf", context=CONTEXT))


def run(work: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(300):
            await work

    asyncio.run(bounded())


def client_of(served: Served) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=served.bound.url,
        headers={"authorization": "Bearer chat-token"},
        timeout=60,
        limits=httpx.Limits(max_connections=None),
    )


async def works(served: Served, engine: Engine) -> None:
    """The next request is answered, and nothing of the ones before is left."""
    async with client_of(served) as client:
        answer = await client.post("/v1/completions", json={"prompt": "Hello", "max_tokens": 4})
    assert answer.status_code == 200, answer.text
    await until(lambda: not served.app.state.generations.live, 120)
    await until(lambda: engine.status().running == engine.status().waiting == 0, 20)


# ---- the engine fails in the middle of 32 streams ------------------------------------------------------------------


async def killed(engine: Engine) -> None:
    os.kill(engine.status().pid, signal.SIGKILL)


async def frozen(engine: Engine) -> None:
    os.kill(engine.status().pid, signal.SIGSTOP)


async def out_of_memory(engine: Engine) -> None:
    """From now on the kernel gives the engine next to no more memory; then somebody asks something long."""
    pid = engine.status().pid
    most = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize() + (4 << 20)
    resource.prlimit(pid, resource.RLIMIT_AS, (most, most))
    with pytest.raises(NoModel):
        async for _ in engine.submit(Generate(prompt="word " * 4_000_000)):
            pass


@pytest.mark.parametrize(
    ("fault", "said"),
    [(killed, "stopped by itself"), (frozen, "stopped responding"), (out_of_memory, "stopped by itself")],
)
def test_in_the_middle_of_thirty_two_streams(
    stored: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: Callable[[Engine], Any], said: str
) -> None:
    """Everybody is told in a last event, the gateway stays, and the engine comes back by itself."""

    async def scene() -> None:
        patience = replace(PATIENCE, silence=2.0) if fault is frozen else PATIENCE
        async with (
            real(stored, tmp_path, places=STREAMS, queue=16, context=CONTEXT, patience=patience) as (served, engine),
            client_of(served) as client,
        ):
            heard: list[list[dict[str, Any]]] = [[] for _ in range(STREAMS)]
            streams = [asyncio.create_task(listen(client, number, heard[number])) for number in range(STREAMS)]
            await until(lambda: all(len(events) > 2 for events in heard), 120)
            lost = engine.status().pid
            await fault(engine)
            await asyncio.gather(*streams)
            for *before, last in heard:
                assert (last["error"]["code"], last["error"]["type"]) == ("no_model", "server_error")
                assert said in last["error"]["message"]
                assert not any("error" in event or event["choices"][0]["finish_reason"] for event in before)
            assert (await client.get("/health/live")).status_code == 200
            await until(lambda: engine.ready, 60)
            assert engine.status().pid != lost
            assert not Path(f"/proc/{lost}").exists()
            await works(served, engine)
        (record,) = caplog.records
        assert bool(re.search("MemoryError|bad_alloc", record.getMessage())) is (fault is out_of_memory)

    run(scene())


async def listen(client: httpx.AsyncClient, number: int, events: list[dict[str, Any]]) -> None:
    """Gathers a stream's events until its end."""
    body = LONG | {"prompt": f"Stream {number}"}
    async with client.stream("POST", "/v1/completions", json=body) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                events += [json.loads(line.removeprefix("data: "))]


# ---- too many, too long, too slow ----------------------------------------------------------------------------------


def test_a_rush_odd_sizes_and_clients_that_are_slow_or_gone(stored: Path, tmp_path: Path) -> None:
    """One start of the engine for all of it: starting is what takes the time."""

    async def scene() -> None:
        patience = replace(PATIENCE, silence=90.0)
        async with real(stored, tmp_path, places=PLACES, queue=QUEUE, context=CONTEXT, patience=patience) as (
            served,
            engine,
        ):
            for act in (prompts_up_to_the_context_and_beyond, a_thousand_at_once, a_slow_reader, vanished_clients):
                await act(served, engine)
                await works(served, engine)
            assert engine.status().restarts == 0

    run(scene())


async def prompts_up_to_the_context_and_beyond(served: Served, engine: Engine) -> None:
    async with client_of(served) as client:
        for length, status in ((1, 200), (CONTEXT - 1, 200), (CONTEXT, 400), (CONTEXT + 1, 400)):
            body = {"prompt": [7] * length, "max_tokens": 1}
            answer = (await client.post("/v1/completions", json=body)).json()
            if status == 200:
                assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (length, 1)
            else:
                assert answer["error"]["code"] == "context_length_exceeded"
                assert f"{length}" in answer["error"]["message"] and f"{CONTEXT}" in answer["error"]["message"]


async def a_thousand_at_once(served: Served, engine: Engine) -> None:
    """By eight people. The engine stands still meanwhile: whoever is refused did not have to wait for anybody."""
    os.kill(engine.status().pid, signal.SIGSTOP)
    try:
        everybody = [asyncio.create_task(asked(served, f"chat-token{number % 8}")) for number in range(RUSH)]
        await until(lambda: sum(one.done() for one in everybody) >= RUSH - PLACES - QUEUE, 80)
    finally:
        os.kill(engine.status().pid, signal.SIGCONT)
    refused = [one.result() for one in everybody if one.done()]
    assert len(refused) == RUSH - PLACES - QUEUE
    for head, body in refused:
        assert head.startswith("HTTP/1.1 429 ") and json.loads(body)["error"]["code"] == "queue_full"
        assert 1 <= int(head.lower().partition("\nretry-after: ")[2].split()[0]) <= 60
    answered = [head.split()[1] for head, _ in await asyncio.gather(*everybody)]
    assert (answered.count("200"), answered.count("429")) == (PLACES + QUEUE, len(refused))


async def asked(served: Served, token: str) -> tuple[str, str]:
    """One request on a connection of its own; head and body of what came until the gateway closed it."""
    reader, writer = await served.tcp()
    body = {"prompt": "Hello", "max_tokens": 2}
    writer.write(request("/v1/completions", body, Authorization=f"Bearer {token}", Connection="close"))
    head, _, rest = (await reader.read()).decode().replace("\r\n", "\n").partition("\n\n")
    writer.close()
    return head, rest


async def a_slow_reader(served: Served, engine: Engine) -> None:
    """One that takes nothing at all: what is computed for it ends when it would have ended."""
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", served.port))
        slow.sendall(request("/v1/completions", LONG | {"prompt": "On and on"}))
        await until(lambda: served.app.state.generations.live)
        await works(served, engine)
        slow.setblocking(False)
        assert slow.recv(12) == b"HTTP/1.1 200"


async def vanished_clients(served: Served, engine: Engine) -> None:
    """More of them than there are places for, gone without a word in the middle of it."""
    steps = engine.status().steps
    gone = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(3 * PLACES)]
    for one in gone:
        one.sendall(request("/v1/completions", LONG | {"prompt": "On and on"}))
    await until(lambda: engine.status().running == PLACES, 20)
    for one in gone:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not a farewell
        one.close()
    await until(lambda: not served.app.state.generations.live, 20)
    await until(lambda: engine.status().running == engine.status().waiting == 0, 20)
    assert engine.status().steps - steps < 2 * LONG["max_tokens"]  # to their ends it would have been three times that
