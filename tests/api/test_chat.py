"""The chat completion's shapes, and that what a request says reaches the engine."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lumen_box.engine.protocol import Alternative, Logprob, Tokens
from lumen_box.engine.sampling import Sampling
from lumen_box.errors import NoModel, TooLong

from .fakes import FakeBox, finished, refuses, says
from .http import USER, chat, error_of, events


def test_a_whole_answer() -> None:
    box = FakeBox()
    response = chat(box)
    body = response.json()
    assert response.status_code == 200
    assert body["object"] == "chat.completion" and body["id"].startswith("chatcmpl-") and body["model"] == "clinical"
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello"},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    usage = body["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (5, 2, 7)
    assert box.model.rendered == [[USER]] and box.model.request.prompt == "<user>Hello"


def test_a_streamed_answer_has_role_pieces_reason_and_done() -> None:
    response = chat(FakeBox(), stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, last = events(response)
    assert last == "[DONE]"
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "Hel"},
        {"content": "lo"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    assert len({chunk["id"] for chunk in chunks}) == 1 and all("usage" not in chunk for chunk in chunks)


def test_usage_comes_in_a_last_chunk_of_its_own_when_asked_for() -> None:
    *chunks, usage, done = events(chat(FakeBox(), stream=True, stream_options={"include_usage": True}))
    assert done == "[DONE]"
    assert usage["choices"] == [] and usage["usage"]["total_tokens"] == 7
    assert all(chunk["usage"] is None for chunk in chunks)


def test_reasoning_is_kept_apart() -> None:
    box = FakeBox()
    box.model.script = says(Tokens(0, (1,), "", "thin"), Tokens(0, (2,), "", "king"), "Yes", end=finished(reasoning=2))
    message = chat(box).json()["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("thinking", "Yes")
    deltas = [chunk["choices"][0]["delta"] for chunk in events(chat(box, stream=True))[:-1]]
    assert deltas[1:4] == [{"reasoning_content": "thin"}, {"reasoning_content": "king"}, {"content": "Yes"}]
    assert chat(box).json()["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}


def test_held_back_text_makes_no_empty_chunk() -> None:
    box = FakeBox()
    box.model.script = says(Tokens(0, (1,), ""), "é", end=finished("length"))
    chunks = events(chat(box, stream=True))[:-1]
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks] == ["", "é", None]
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


def test_log_probabilities_list_tokens_with_their_bytes() -> None:
    other = Alternative(9, "\xa9", float("-inf"))
    news = Tokens(0, (7, 8), "é", logprobs=(Logprob(7, "\xc3", -0.5, (other,)), Logprob(8, "\xa9", -1.0)))
    box = FakeBox()
    box.model.script = says(news)
    whole = chat(box, logprobs=True, top_logprobs=1).json()["choices"][0]["logprobs"]["content"]
    assert [(one["bytes"], one["logprob"]) for one in whole] == [([0xC3], -0.5), ([0xA9], -1.0)]
    assert whole[0]["top_logprobs"] == [{"token": "�", "logprob": -9999.0, "bytes": [0xA9]}]
    assert events(chat(box, logprobs=True, stream=True))[1]["choices"][0]["logprobs"]["content"][0]["bytes"] == [0xC3]
    assert box.model.request.logprobs == 0
    assert chat(box).json()["choices"][0]["logprobs"] is None and box.model.request.logprobs is None


@pytest.mark.parametrize(
    ("members", "attribute", "expected"),
    [
        ({"max_tokens": 7}, "max_tokens", 7),
        ({"max_completion_tokens": 8}, "max_tokens", 8),
        ({}, "max_tokens", None),
        ({"stop": "END"}, "stop", ("END",)),
        ({"stop": ["a", "b"]}, "stop", ("a", "b")),
        ({"stop": None}, "stop", ()),
        ({"logprobs": True, "top_logprobs": 3}, "logprobs", 3),
        ({}, "sampling", Sampling()),
        ({"temperature": 0, "seed": 7}, "sampling", Sampling(temperature=0, seed=7)),
        ({"top_p": 0.5, "top_k": 3, "min_p": 0.1}, "sampling", Sampling(top_p=0.5, top_k=3, min_p=0.1)),
        (
            {"presence_penalty": -1, "frequency_penalty": 2, "repeat_penalty": 1.1},
            "sampling",
            Sampling(presence_penalty=-1, frequency_penalty=2, repeat_penalty=1.1),
        ),
        ({"ignore_eos": True}, "sampling", Sampling(ignore_eos=True)),
        ({"x_lumen_isolated": True}, "isolated", True),
        ({"x_lumen_isolated": False}, "isolated", False),
        ({}, "isolated", False),
        ({"n": 1, "user": "u1", "response_format": {"type": "text"}}, "sampling", Sampling()),
    ],
    ids=str,
)
def test_what_is_said_reaches_the_engine(members: dict[str, Any], attribute: str, expected: object) -> None:
    box = FakeBox()
    assert chat(box, **members).status_code == 200
    assert getattr(box.model.request, attribute) == expected


@pytest.mark.parametrize(
    ("message", "rendered"),
    [
        ({"role": "developer", "content": "Be brief."}, {"role": "system", "content": "Be brief."}),
        (
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "user", "content": "ab"},
        ),
        (
            {"role": "assistant", "content": "Yes", "reasoning_content": "hm", "refusal": None, "tool_calls": None},
            {"role": "assistant", "content": "Yes", "reasoning_content": "hm"},
        ),
    ],
)
def test_messages_as_the_template_gets_them(message: dict[str, Any], rendered: dict[str, str]) -> None:
    box = FakeBox()
    assert chat(box, messages=[message, USER]).status_code == 200
    assert box.model.rendered == [[rendered, USER]]


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_before_the_first_token_has_its_own_status(stream: bool) -> None:
    box = FakeBox()
    box.model.script = refuses(TooLong("The prompt has 900 tokens, and the context holds 512."))
    response = chat(box, stream=stream)
    error = error_of(response)
    assert response.status_code == 400 and error["code"] == "context_length_exceeded" and error["param"] == "messages"
    assert "900" in error["message"] and "512" in error["message"]


def test_a_crash_in_the_middle_is_the_last_event() -> None:
    box = FakeBox()
    box.model.script = says("Hel", end=NoModel("The engine stopped.", then="Ask again."))
    *_, piece, last = events(chat(box, stream=True))
    assert piece["choices"][0]["delta"] == {"content": "Hel"}
    assert last["error"]["code"] == "no_model" and "Ask again." in last["error"]["message"]
    whole = chat(box)
    assert whole.status_code == 503 and error_of(whole)["code"] == "no_model"


def test_a_fault_of_ours_tells_a_stranger_nothing() -> None:
    box = FakeBox()

    async def broken(answer: object) -> Any:
        raise KeyError("the secret detail")
        yield

    box.model.script = broken
    response = chat(box)
    assert response.status_code == 500 and "secret" not in response.text and error_of(response)["code"] == "unexpected"


def test_half_a_surrogate_pair_does_not_break_the_stream() -> None:
    box = FakeBox()
    box.model.script = says("\ud800", "ok")
    assert [json.dumps(e["choices"][0]["delta"]) for e in events(chat(box, stream=True))[1:3]] == [
        '{"content": "\\ud800"}',
        '{"content": "ok"}',
    ]
