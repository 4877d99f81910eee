"""While a request waits its client is told how long the queue before it is, in a way that no other client minds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import openai
import pytest

from lumen_box.api import answer
from lumen_box.api.app import create_app
from lumen_box.cli import common, use
from lumen_box.client.chat import stream_chat
from lumen_box.client.transport import connect
from lumen_box.engine.protocol import Timings
from lumen_box.errors import NoModel, TooLong
from lumen_box.schemas.sse import waiting, waiting_in

from .fakes import FakeBox, finished, hangs, refuses, says, slowly, waits
from .gateway import served
from .http import USER, chat, error_of, events, run

TOO_LONG = TooLong("The prompt has 900 tokens, and the context holds 512.")


def test_the_stream_says_how_many_are_before_it_and_its_events_are_the_same() -> None:
    box = FakeBox()
    plain = [event["choices"] for event in events(chat(box, stream=True))[:-1]]
    box.model.script = waits(3, 1, 0, then=says("Hel", "lo"))
    response = chat(box, stream=True)
    comments = [line for line in response.text.splitlines() if line.startswith(":")]
    assert comments == [": waiting, 3 ahead", ": waiting, 1 ahead", ": waiting, 0 ahead"]
    assert [event["choices"] for event in events(response)[:-1]] == plain
    assert chat(box).json()["choices"][0]["message"]["content"] == "Hello"


def test_our_client_hears_it_and_openais_does_not_mind(tmp_path: Path) -> None:
    box = FakeBox()
    heard: list[int] = []
    box.model.script = waits(2, 0, then=says("Hel", "lo"))

    async def scene() -> None:
        async with served(box, tmp_path) as gateway:
            async with connect(socket=gateway.bound.socket) as own:
                said = [delta.text async for delta in stream_chat(own, [USER], on_waiting=heard.append)]
            assert "".join(said) == "Hello" and heard == [2, 0]
            async with openai.AsyncOpenAI(base_url=f"{gateway.bound.url}/v1", api_key="chat-token") as theirs:
                stream = await theirs.chat.completions.create(model="clinical", messages=[USER], stream=True)  # type: ignore[list-item]
                assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "Hello"

    run(scene())


@pytest.mark.parametrize("comment", ["waiting, -1 ahead", "waiting, 1 ahead,", "still working", "waiting, 1 "])
def test_only_what_the_gateway_writes_is_a_place_in_the_queue(comment: str) -> None:
    assert waiting_in(comment) is None
    assert waiting_in(waiting(12).decode()[2:].strip()) == 12


def test_a_refusal_keeps_its_status_where_it_is_quick() -> None:
    box = FakeBox()
    box.model.script = slowly(0.05, refuses(TOO_LONG))
    response = chat(box, stream=True)
    assert response.status_code == 400 and error_of(response)["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("then", "code", "text"),
    [
        (refuses(TOO_LONG), "context_length_exceeded", ""),
        (says("Hel", end=NoModel("The engine stopped.")), "no_model", "Hel"),
        (says("Hel", "lo"), None, "Hello"),
    ],
    ids=["refused", "lost", "answered"],
)
def test_a_stream_opens_soon_and_then_says_everything_in_events(
    monkeypatch: pytest.MonkeyPatch, then: object, code: str | None, text: str
) -> None:
    monkeypatch.setattr(answer, "OPEN_SECONDS", 0.01)
    monkeypatch.setattr(answer, "ALIVE_SECONDS", 0.02)
    box = FakeBox()
    box.model.script = slowly(0.1, then)  # type: ignore[arg-type]
    response = chat(box, stream=True)
    assert response.status_code == 200 and response.text.startswith(": still working\n\n")
    *chunks, last = events(response)
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == text
    assert (last == "[DONE]") if code is None else (last["error"]["code"] == code)


def test_whoever_leaves_before_it_is_accepted_is_not_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "OPEN_SECONDS", 0.01)
    box = FakeBox()
    box.model.script = hangs(accepted=False)

    async def scene() -> None:
        async with served(box, tmp_path) as gateway, connect(socket=gateway.bound.socket) as own:
            async with own.open("POST", "/v1/chat/completions", {"messages": [USER], "stream": True}) as response:
                assert response.status_code == 200
            await box.model.answers[0].cancelled.wait()

    run(scene())


def test_the_person_at_the_terminal_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(common, "QUIET_SECONDS", 0.0)
    box = FakeBox()
    box.model.script = waits(3, 0, then=says("Hello"))

    async def scene() -> use.Answer:
        async with connect(app=create_app(box)) as client:
            return await use.answer(client, [USER], {"model": None}, live=True)

    assert run(scene()).text == "Hello"
    said = capsys.readouterr()
    assert said.out == "Hello\n" and said.err == "Waiting: 3 before you\n"


def test_the_time_in_the_queue_is_counted() -> None:
    box = FakeBox()
    box.model.script = says("x", end=replace(finished(), timings=Timings(2.0, 0.1, 0.1)))

    async def scene() -> str:
        async with connect(app=create_app(box)) as client:
            await client.post("/v1/chat/completions", {"messages": [USER]})
            return await client.text("/metrics")

    page = run(scene())
    assert 'lumen_waiting_seconds_bucket{le="1.0"} 0' in page and 'lumen_waiting_seconds_bucket{le="2.5"} 1' in page
    assert "lumen_waiting_seconds_sum 2" in page
