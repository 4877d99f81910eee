"""The ``openai`` client, unchanged, against the gateway on a real port."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest

from lumen_box.engine.protocol import Logprob, Tokens
from lumen_box.errors import NoModel, TooLong

from .fakes import FakeBox, finished, refuses, says
from .gateway import served
from .http import run

CHAT_TOKEN = "chat-token"
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]


def with_client(box: FakeBox, folder: Path, work: Any, token: str = CHAT_TOKEN) -> Any:
    """``work(client)`` in a thread, as a program would call it."""

    async def scene() -> Any:
        async with served(box, folder) as gateway:
            client = openai.OpenAI(base_url=f"{gateway.bound.url}/v1", api_key=token, max_retries=0, timeout=5)
            try:
                return await asyncio.to_thread(work, client)
            finally:
                client.close()

    return run(scene())


def test_a_stream_with_usage_and_log_probabilities(tmp_path: Path) -> None:
    box = FakeBox()
    box.model.script = says(Tokens(0, (1,), "Hel", logprobs=(Logprob(1, "Hel", -0.25),)), "lo", end=finished("length"))

    def work(client: openai.OpenAI) -> Any:
        stream = client.chat.completions.create(
            model="clinical",
            messages=HELLO,
            stream=True,
            stream_options={"include_usage": True},
            logprobs=True,
            seed=7,
            stop=["END"],
            temperature=0,
            max_completion_tokens=5,
            extra_body={"min_p": 0.1},
        )
        return list(stream)

    chunks = with_client(box, tmp_path, work)
    *chunks, usage = chunks
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"
    assert chunks[-1].choices[0].finish_reason == "length"
    assert chunks[1].choices[0].logprobs.content[0].logprob == -0.25
    assert usage.usage.total_tokens == 8 and usage.choices == []
    assert box.model.request.sampling.min_p == 0.1 and box.model.request.stop == ("END",)


def test_an_answer_is_sent_back_as_part_of_the_conversation(tmp_path: Path) -> None:
    box = FakeBox()
    box.model.script = says(Tokens(0, (1,), "", "hm"), "Yes")

    def work(client: openai.OpenAI) -> None:
        first = client.chat.completions.create(model="clinical", messages=HELLO).choices[0].message
        for again in (first, first.model_dump()):
            client.chat.completions.create(model="clinical", messages=[*HELLO, again, *HELLO])  # type: ignore[list-item]

    with_client(box, tmp_path, work)
    for rendered in box.model.rendered[1:]:
        assert rendered[1] == {"role": "assistant", "content": "Yes", "reasoning_content": "hm"}


def test_completions_and_models(tmp_path: Path) -> None:
    def work(client: openai.OpenAI) -> Any:
        return client.completions.create(model="clinical", prompt="Once", max_tokens=3).choices[0].text

    assert with_client(FakeBox(), tmp_path, work) == "Hello"
    listed = with_client(FakeBox(), tmp_path, lambda client: list(client.models.list()), "models-token")
    assert [model.id for model in listed] == ["clinical"]


@pytest.mark.parametrize(
    ("token", "members", "script", "raised", "code"),
    [
        ("wrong", {}, None, openai.AuthenticationError, "unauthenticated"),
        ("models-token", {}, None, openai.PermissionDeniedError, "not_allowed"),
        ("chat-token", {"model": "gpt-4o"}, None, openai.NotFoundError, "model_not_found"),
        ("chat-token", {"tools": []}, None, openai.BadRequestError, "unsupported_parameter"),
        ("chat-token", {"temperature": -1}, None, openai.BadRequestError, "invalid_parameter"),
        ("chat-token", {}, refuses(TooLong("900 of 512")), openai.BadRequestError, "context_length_exceeded"),
        ("chat-token", {}, refuses(NoModel("restarting")), openai.InternalServerError, "no_model"),
        ("chat-token", {"stream": True}, refuses(NoModel("restarting")), openai.InternalServerError, "no_model"),
    ],
)
def test_errors_are_the_ones_its_users_know(
    tmp_path: Path, token: str, members: dict[str, Any], script: Any, raised: type[openai.APIStatusError], code: str
) -> None:
    box = FakeBox()
    box.model.script = script or box.model.script

    def work(client: openai.OpenAI) -> None:
        client.chat.completions.create(**({"model": "clinical", "messages": HELLO} | members))

    with pytest.raises(raised) as caught:
        with_client(box, tmp_path, work, token)
    assert caught.value.code == code


def test_an_error_in_the_middle_of_a_stream_is_raised(tmp_path: Path) -> None:
    box = FakeBox()
    box.model.script = says("Hel", end=NoModel("The engine stopped.", then="Ask again."))

    def work(client: openai.OpenAI) -> list[str]:
        seen: list[str] = []
        with pytest.raises(openai.APIError, match="The engine stopped"):
            stream = client.chat.completions.create(model="clinical", messages=HELLO, stream=True)
            seen.extend(chunk.choices[0].delta.content or "" for chunk in stream)
        return seen

    assert with_client(box, tmp_path, work) == ["", "Hel"]


def test_leaving_a_stream_early_ends_the_answer(tmp_path: Path) -> None:
    from .fakes import hangs

    box = FakeBox()
    box.model.script = hangs("Hel")

    async def scene() -> None:
        from .gateway import until

        async with served(box, tmp_path) as gateway:
            client = openai.AsyncOpenAI(base_url=f"{gateway.bound.url}/v1", api_key="chat-token")
            stream = await client.chat.completions.create(model="clinical", messages=HELLO, stream=True)
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    break
            await stream.close()
            await until(lambda: box.model.answers[0].cancelled.is_set(), 1.0)
            await client.close()

    run(scene())
