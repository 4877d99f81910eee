"""``POST /v1/embeddings``: its forms, what it refuses, and every way a request ends. The engine is a script."""

from __future__ import annotations

import asyncio
import base64
import struct
from typing import Any

import httpx
import pytest

from lumen_box.api.app import create_app
from lumen_box.engine.protocol import Embed
from lumen_box.errors import NoModel, TooLong

from .fakes import FakeBox, embeds, hangs, refuses
from .gateway import until
from .http import asking, error_of, get, post, run

PATH = "/v1/embeddings"
TOKEN = {"authorization": "Bearer embeddings-token"}


def refused(response: httpx.Response, status: int) -> Any:
    """The error's members, whatever the status was to be."""
    assert response.status_code == status, response.text
    return error_of(response)


def test_vectors_come_in_the_order_of_the_inputs_whatever_order_the_engine_has() -> None:
    box = FakeBox()
    box.models.search.script = embeds(2, 0, 1)
    body = post(box, PATH, {"input": ["a", "b", "c"], "model": "search"}).json()
    assert (body["object"], body["model"]) == ("list", "search")
    assert [one["index"] for one in body["data"]] == [0, 1, 2]
    assert {one["object"] for one in body["data"]} == {"embedding"}
    for index, one in enumerate(body["data"]):
        exact = struct.pack("<3f", index, -0.5, 1 / 3)
        assert struct.pack("<3f", *one["embedding"]) == exact, "nine digits are all of a float"
    assert body["usage"] == {"prompt_tokens": 5, "total_tokens": 5}


def test_base64_holds_the_very_floats() -> None:
    (one,) = post(FakeBox(), PATH, {"input": "a", "encoding_format": "base64", "dimensions": 3}).json()["data"]
    assert base64.b64decode(one["embedding"]) == struct.pack("<3f", 0, -0.5, 1 / 3)


@pytest.mark.parametrize(
    ("given", "asked"),
    [("a", ("a",)), (["a", "b"], ("a", "b")), ([1, 2, 3], ((1, 2, 3),)), ([[1, 2], [3]], ((1, 2), (3,)))],
)
def test_the_forms_of_an_input(given: Any, asked: Any) -> None:
    box = FakeBox()
    assert post(box, PATH, {"input": given}).status_code == 200
    request = box.models.search.answers[-1].request
    assert isinstance(request, Embed)
    assert request.inputs == asked
    assert request.owner, "or fairness would take everybody for one"


@pytest.mark.parametrize(
    ("members", "param", "words"),
    [
        ({}, "input", "missing"),
        ({"input": ""}, "input", "empty"),
        ({"input": []}, "input", "empty"),
        ({"input": ["a", ""]}, "input[1]", "empty"),
        ({"input": [[1], []]}, "input[1]", "empty"),
        ({"input": [-1]}, "input[0]", "between"),
        ({"input": [1.5]}, "input[0]", "wrong type"),
        ({"input": ["a", 1]}, "input", "not both"),
        ({"input": ["a"] * 2049}, "input", "2049 texts; 2048"),
        ({"input": "a", "dimensions": 2}, "dimensions", "can only be 3"),
        ({"input": "a", "dimensions": 0}, "dimensions", "between"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format", "float"),
        ({"input": "a", "stream": True}, "stream", "does not know"),
    ],
)
def test_what_is_refused_before_the_engine_hears_of_it(members: dict[str, Any], param: str, words: str) -> None:
    box = FakeBox()
    error = refused(post(box, PATH, members), 400)
    assert error["param"] == param
    assert words in error["message"]
    assert box.models.search.answers == []


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(TooLong("`input[0]` has 600 tokens; 512."), 400, "context_length_exceeded"), (NoModel("Gone."), 503, "no_model")],
)
def test_what_the_engine_says_has_its_own_status(error: Any, status: int, code: str) -> None:
    box = FakeBox()
    for script in (refuses(error), embeds(0, end=error)):
        box.models.search.script = script
        assert refused(post(box, PATH, {"input": "a"}), status)["code"] == code


def test_a_model_can_be_looked_up_whatever_it_is_for() -> None:
    box = FakeBox()
    assert [get(box, f"/v1/models/{name}").json()["role"] for name in ("clinical", "search")] == ["chat", "embedding"]


@pytest.mark.parametrize(("scope", "status"), [("embeddings", 200), ("chat", 403), ("models", 403)])
def test_it_takes_a_scope_of_its_own(scope: str, status: int) -> None:
    headers = {"authorization": f"Bearer {scope}-token"}
    assert post(FakeBox(), PATH, {"input": "a"}, headers=headers).status_code == status


@pytest.mark.parametrize("accepted", [True, False])
def test_a_client_that_goes_away_ends_its_request(accepted: bool) -> None:
    async def scene() -> None:
        box = FakeBox()
        box.models.search.script = hangs(accepted=accepted)
        async with asking(box) as client:
            request = asyncio.create_task(client.post(PATH, json={"input": "a"}))
            await until(lambda: bool(box.models.search.answers))
            request.cancel()
            await until(lambda: box.models.search.answers[0].cancelled.is_set())

    run(scene())


def test_a_withdrawn_token_ends_what_runs_and_a_full_queue_refuses_at_once() -> None:
    async def scene() -> None:
        box = FakeBox(places=1, queue=0)
        app = create_app(box)
        box.models.search.script = hangs()

        async def ask(client: httpx.AsyncClient) -> httpx.Response:
            return await client.post(PATH, json={"input": "a"}, headers=TOKEN)

        async with asking(box, app=app) as client:
            first = asyncio.create_task(ask(client))
            await until(lambda: bool(box.models.search.answers))
            assert refused(await ask(client), 429)["code"] == "queue_full"
            assert app.state.generations.end_of("embeddings-token") == 1
            assert refused(await first, 403)["code"] == "access_withdrawn"
            await until(lambda: box.models.search.answers[0].cancelled.is_set())
            assert box.models.forgotten == ["token:embeddings-token"]

    run(scene())
