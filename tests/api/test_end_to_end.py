"""The gateway over the real engine, sandboxed and on an encrypted model, with the ``openai`` client in front."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from lumen_box.client.chat import stream_chat
from lumen_box.client.transport import Client, connect
from lumen_box.engine.supervisor import Engine
from lumen_box.errors import NoModel, TooLong

from ..engine.support import CONTEXT, ask, encrypt
from ..support.tiny_model import write_tiny_model
from .gateway import Served, until
from .real import real

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encrypt(write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf", context=2048))


@contextlib.asynccontextmanager
async def gateway(stored: Path, folder: Path) -> AsyncIterator[tuple[Served, Engine, openai.AsyncOpenAI]]:
    async with real(stored, folder) as (one, engine):
        client = openai.AsyncOpenAI(base_url=f"{one.bound.url}/v1", api_key="chat-token", max_retries=0)
        async with client:
            yield one, engine, client


def run(work: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(90):
            await work

    asyncio.run(bounded())


def test_one_gateway_one_engine_and_everything_a_client_does(stored: Path, tmp_path: Path) -> None:
    """One start of the engine for all of it: starting is what takes the time."""

    async def scene() -> None:
        async with gateway(stored, tmp_path) as (served, engine, client):
            await streams_what_the_engine_says(engine, client)
            await the_same_seed_says_the_same(client)
            await log_probabilities_and_usage_agree(client)
            await a_stop_string_ends_it(client)
            await a_prompt_too_long_is_refused_with_both_numbers(served, client)
            await what_outgrows_the_context_is_trimmed_where_that_is_asked_for(client)
            await many_at_once_all_end(client)
            await whoever_waits_hears_how_many_are_before_them(served, engine)
            await leaving_frees_the_engine(served, engine, client)
            await a_killed_engine_is_said_in_the_stream(served, engine)

    run(scene())


async def streams_what_the_engine_says(engine: Engine, client: openai.AsyncOpenAI) -> None:
    alone = await ask(engine, "The nurse on the night ward", max_tokens=24)
    stream = await client.completions.create(
        model="clinical", prompt="The nurse on the night ward", max_tokens=24, temperature=0, stream=True
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks) == alone.text and len(chunks) > 3
    assert chunks[-1].choices[0].finish_reason == alone.reason
    by_ids = await client.completions.create(
        model="clinical",
        prompt=list(await engine.tokenize("The nurse on the night ward", add_special=True)),
        max_tokens=24,
        temperature=0,
    )
    assert by_ids.choices[0].text == alone.text


async def the_same_seed_says_the_same(client: openai.AsyncOpenAI) -> None:
    texts = []
    for seed in (7, 7, 8):
        answer = await client.chat.completions.create(
            model="clinical", messages=HELLO, seed=seed, temperature=1.5, max_tokens=16
        )
        texts.append(answer.choices[0].message.content)
    assert texts[0] == texts[1] != texts[2]


async def log_probabilities_and_usage_agree(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="clinical",
        messages=HELLO,
        logprobs=True,
        top_logprobs=3,
        temperature=0,
        max_tokens=8,
        extra_body={"ignore_eos": True},
    )
    listed = answer.choices[0].logprobs.content  # type: ignore[union-attr]
    assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == len(listed) == 8  # type: ignore[union-attr,arg-type]
    for one in listed:  # type: ignore[union-attr]
        assert len(one.top_logprobs) == 3 and one.logprob == max(top.logprob for top in one.top_logprobs) <= 0
    spelled = b"".join(bytes(one.bytes or []) for one in listed)  # type: ignore[union-attr]
    assert spelled.decode("utf-8", "replace").startswith((answer.choices[0].message.content or "").rstrip("�"))


async def a_stop_string_ends_it(client: openai.AsyncOpenAI) -> None:
    asked: dict[str, Any] = {"model": "clinical", "prompt": "The nurse", "max_tokens": 24, "temperature": 0}
    whole = (await client.completions.create(**asked)).choices[0].text
    stop = whole[len(whole) // 2 :][:3]
    stopped = (await client.completions.create(**asked, stop=[stop])).choices[0]
    assert stopped.text == whole[: whole.index(stop)] and stopped.finish_reason == "stop"


async def a_prompt_too_long_is_refused_with_both_numbers(served: Served, client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=str(CONTEXT)) as refused:
        await client.chat.completions.create(
            model="clinical", messages=[{"role": "user", "content": "word " * 2000}], stream=True
        )
    assert refused.value.code == "context_length_exceeded"
    async with connect(socket=served.bound.socket) as own:
        with pytest.raises(TooLong) as ours:
            await own.post("/v1/completions", {"prompt": "word " * 2000})
    assert ours.value.exit_code == 33


async def what_outgrows_the_context_is_trimmed_where_that_is_asked_for(client: openai.AsyncOpenAI) -> None:
    turns = [{"role": role, "content": f"{number} word" * 20} for number in range(12) for role in ("user", "assistant")]
    asked: dict[str, Any] = {"model": "clinical", "messages": [*turns, *HELLO], "max_tokens": 8, "temperature": 0}
    with pytest.raises(openai.BadRequestError, match=str(CONTEXT)):
        await client.chat.completions.create(**asked)
    answer = await client.chat.completions.create(**asked, extra_body={"x_lumen_trim": True})
    dropped = (answer.model_extra or {})["x_lumen_trimmed"]
    assert 0 < dropped < len(turns) and dropped % 2 == 0
    assert answer.usage is not None and CONTEXT // 2 < answer.usage.prompt_tokens <= CONTEXT - 8
    again = await client.chat.completions.create(**asked | {"messages": [*turns[dropped:], *HELLO]})
    assert again.usage is not None and again.usage.prompt_tokens == answer.usage.prompt_tokens


async def many_at_once_all_end(client: openai.AsyncOpenAI) -> None:
    answers = await asyncio.gather(
        *(
            client.completions.create(model="clinical", prompt=f"Number {at}", max_tokens=12, seed=at)
            for at in range(10)
        )
    )
    assert all(answer.choices[0].finish_reason in ("stop", "length") for answer in answers)


async def whoever_waits_hears_how_many_are_before_them(served: Served, engine: Engine) -> None:
    """A busy machine may let four end before anybody has to wait: then it is tried again."""
    assert await any_of(lambda: heard_while_waiting(served, engine), 10)


async def heard_while_waiting(served: Served, engine: Engine) -> bool:
    """Two more than there are places for, all at once; True if they were told how many are before them, as it is."""
    heard: list[int] = []

    async def asks() -> str:
        async with connect(socket=served.bound.socket) as own:
            said = stream_chat(own, HELLO, max_tokens=400, ignore_eos=True, on_waiting=heard.append)
            return "".join([delta.text async for delta in said])

    assert engine._worker is not None
    os.kill(engine._worker.pid, signal.SIGSTOP)  # so that it finds all of them when it goes on
    try:
        everybody = asyncio.gather(*[asks() for _ in range(6)])
        await until(lambda: len(served.app.state.generations.live) == 6)
        await asyncio.sleep(0.05)
    finally:
        os.kill(engine._worker.pid, signal.SIGCONT)
    assert all(await everybody)
    assert set(heard) <= {0, 1}
    return set(heard) == {0, 1}


async def leaving_frees_the_engine(served: Served, engine: Engine, client: openai.AsyncOpenAI) -> None:
    stream = await client.completions.create(
        model="clinical", prompt="On and on", max_tokens=400, stream=True, extra_body={"ignore_eos": True}
    )
    async for _ in stream:
        break
    await stream.close()
    await until(lambda: not served.app.state.generations.live, 2)
    await until(lambda: engine.status().running == 0, 5)


async def a_killed_engine_is_said_in_the_stream(served: Served, engine: Engine) -> None:
    async with connect(socket=served.bound.socket) as own:
        assert await any_of(lambda: killed_in_the_middle(own, engine), 10)
        await until(lambda: engine.ready, 30)
        assert [delta async for delta in stream_chat(own, HELLO, max_tokens=4)]
        assert "lumen_generations_total" in await own.text("/metrics")


async def any_of(attempt: Callable[[], Awaitable[bool]], times: int) -> bool:
    """A busy machine may let the answer end before the signal arrives: then it is tried again."""
    for _ in range(times):
        if await attempt():
            return True
    return False


async def killed_in_the_middle(own: Client, engine: Engine) -> bool:
    """Kills the engine while it answers; True if the client was told so in the middle of the stream."""
    await until(lambda: engine.ready, 30)
    stream = stream_chat(own, HELLO, max_tokens=400, ignore_eos=True)
    await anext(stream)
    assert engine._worker is not None
    os.kill(engine._worker.pid, signal.SIGKILL)
    try:
        async for _ in stream:
            pass
    except NoModel:
        return True
    await until(lambda: not engine.ready, 10)
    return False
