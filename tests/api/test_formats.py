"""Structured output as callers meet it: the ``openai`` client, the gateway, the helper and the real engine."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import openai
import pytest

from lumen_box.engine.supervisor import Engine

from ..engine.schemas import RECORD
from ..engine.support import encrypt
from ..support.json_schema import satisfies
from ..support.tiny_model import write_tiny_model
from .test_end_to_end import HELLO, gateway, run

NAMED = {"name": "record", "schema": RECORD, "strict": True}
DEEP_GRAMMAR = "root ::= " + "(" * 10_000 + '"a"' + ")" * 10_000


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encrypt(write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf", context=2048))


def test_structured_output_end_to_end(stored: Path, tmp_path: Path) -> None:
    async def scene() -> None:
        async with gateway(stored, tmp_path) as (_, engine, client):
            await a_schema_is_kept_to(client)
            await any_json_object(client)
            await a_grammar_of_ones_own(client)
            await what_cannot_be_kept_to_is_refused_by_its_path(client)
            await hostile_ones_harm_nobody(engine, client)

    run(scene())


async def chat(client: openai.AsyncOpenAI, **more: Any) -> Any:
    asked: dict[str, Any] = {"model": "clinical", "messages": HELLO, "max_tokens": 400} | more
    return await client.chat.completions.create(**asked)


async def a_schema_is_kept_to(client: openai.AsyncOpenAI) -> None:
    form = {"type": "json_schema", "json_schema": NAMED}
    answers = await asyncio.gather(*(chat(client, response_format=form, seed=seed) for seed in range(6)))
    choices = [answer.choices[0] for answer in answers]
    whole = [one.message.content for one in choices if one.finish_reason == "stop"]
    assert len(whole) > 3 and all(satisfies(json.loads(text), RECORD) for text in whole)
    stream = await chat(client, response_format=form, seed=0, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == choices[0].message.content
    cut = (await chat(client, response_format=form, max_tokens=2)).choices[0]
    assert cut.finish_reason == "length"
    nullable = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"const": {"a": None}}}}
    assert (await chat(client, response_format=nullable)).choices[0].message.content == '{"a":null}'


async def any_json_object(client: openai.AsyncOpenAI) -> None:
    asked = [
        chat(client, response_format={"type": "json_object"}, seed=seed, temperature=2, max_tokens=40)
        for seed in range(10)
    ]
    choices = [answer.choices[0] for answer in await asyncio.gather(*asked)]
    whole = [one.message.content for one in choices if one.finish_reason == "stop"]
    assert whole and all(isinstance(json.loads(text), dict) for text in whole)
    assert all(one.message.content.startswith("{") for one in choices)


async def a_grammar_of_ones_own(client: openai.AsyncOpenAI) -> None:
    grammar = {"grammar": 'root ::= "yes" | "no"'}
    assert (await chat(client, extra_body=grammar)).choices[0].message.content in ("yes", "no")
    answer = await client.completions.create(model="clinical", prompt="Is it?", max_tokens=9, extra_body=grammar)
    assert answer.choices[0].text in ("yes", "no") and answer.choices[0].finish_reason == "stop"


SCHEMA = "response_format.json_schema.schema"
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"items": {"not": {}}}}}},
        f"{SCHEMA}.items.not",
        "not supported in a schema",
    ),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
        "response_format.json_schema.schema",
        "missing",
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {**NAMED, "more": 1}}},
        "response_format.json_schema.more",
        "does not know",
    ),
    ({"response_format": {"type": "json_object", "json_schema": NAMED}}, "response_format.json_schema", "needs"),
    ({"response_format": {"type": "json_object"}, "grammar": 'root ::= "a"'}, "grammar", "both say"),
    ({"grammar": "root ::= a"}, "grammar", "`a` is not defined"),
    ({"grammar": DEEP_GRAMMAR}, "grammar", "nested more than 64 deep"),
    ({"grammar": "#" * 200_000}, "grammar", "longer than 131072"),
]


async def what_cannot_be_kept_to_is_refused_by_its_path(client: openai.AsyncOpenAI) -> None:
    for members, param, why in REFUSED:
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError, match=why) as refused:
                await chat(client, extra_body=members, stream=stream)
            assert refused.value.param == param


async def hostile_ones_harm_nobody(engine: Engine, client: openai.AsyncOpenAI) -> None:
    asked = asyncio.create_task(chat(client, max_tokens=300))
    body = b'{"messages":[],"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":'
    deep = body + b'{"items":' * 10_000 + b"{}" + b"}" * 10_003
    for data in (deep, b'{"messages":[],"grammar":"' + b"(" * (1 << 20) + b'"}'):
        answer = await client._client.post(
            "chat/completions",
            content=data,
            headers={"Authorization": "Bearer chat-token", "Content-Type": "application/json"},
        )
        assert answer.status_code in (400, 413)
    with pytest.raises(openai.BadRequestError, match="too many ways"):
        await chat(client, extra_body={"grammar": 'root ::= "a" root "a" | "a" root "b" | "a" | "b" root root'}, seed=1)
    assert (await asked).choices[0].finish_reason in ("stop", "length")
    assert engine.status().restarts == 0
