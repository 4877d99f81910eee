"""The bare completion and the list of models."""

from __future__ import annotations

from typing import Any

import pytest

from lumen_box.engine.protocol import Alternative, Logprob, Tokens
from lumen_box.engine.sampling import Sampling

from .fakes import FakeBox, says
from .http import error_of, events, get, post

PATH = "/v1/completions"


def test_a_whole_completion() -> None:
    box = FakeBox()
    body = post(box, PATH, {"prompt": "Once", "temperature": 0, "seed": 1}).json()
    assert body["object"] == "text_completion" and body["id"].startswith("cmpl-")
    assert body["choices"] == [{"index": 0, "text": "Hello", "logprobs": None, "finish_reason": "stop"}]
    assert box.model.rendered == [] and box.model.request.sampling == Sampling(temperature=0, seed=1)
    assert box.model.request.max_tokens == 16 and not box.model.request.split_reasoning


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [("Once", "Once"), (["Once"], "Once"), ([1, 2, 3], (1, 2, 3)), ([[1, 2]], (1, 2)), ("", "")],
)
def test_the_forms_of_a_prompt(prompt: Any, asked: Any) -> None:
    box = FakeBox()
    assert post(box, PATH, {"prompt": prompt}).status_code == 200
    assert box.model.request.prompt == asked


@pytest.mark.parametrize(
    ("members", "param"),
    [({"prompt": ["a", "b"]}, "prompt"), ({"prompt": []}, "prompt"), ({"prompt": [-1]}, "prompt[0]"),
     ({"prompt": [1.5]}, "prompt[0]"), ({"prompt": {"a": 1}}, "prompt"), ({}, "prompt"),
     ({"prompt": "x", "echo": True}, "echo"), ({"prompt": "x", "suffix": "y"}, "suffix"),
     ({"prompt": "x", "best_of": 2}, "best_of"), ({"prompt": "x", "logprobs": 6}, "logprobs"),
     ({"prompt": "x", "messages": []}, "messages")],
    ids=str,
)  # fmt: skip
def test_what_is_refused(members: dict[str, Any], param: str) -> None:
    response = post(FakeBox(), PATH, members)
    assert response.status_code == 400 and error_of(response)["param"] == param


def test_a_streamed_completion() -> None:
    *chunks, usage, done = events(
        post(FakeBox(), PATH, {"prompt": "Once", "stream": True, "stream_options": {"include_usage": True}})
    )
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["Hel", "lo", ""]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop" and done == "[DONE]"
    assert usage["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_in_the_old_form(stream: bool) -> None:
    box = FakeBox()
    tops = (Alternative(1, "Hel", -0.1), Alternative(5, "Hi", -2.0))
    box.model.script = says(
        Tokens(0, (1,), "Hel", logprobs=(Logprob(1, "Hel", -0.1, tops),)),
        Tokens(0, (2,), "lo", logprobs=(Logprob(2, "lo", -0.2),)),
    )
    response = post(box, PATH, {"prompt": "Once", "logprobs": 2, "stream": stream})
    parts = events(response)[:-2] if stream else [response.json()]
    found = [part["choices"][0]["logprobs"] for part in parts]
    assert [token for one in found for token in one["tokens"]] == ["Hel", "lo"]
    assert [offset for one in found for offset in one["text_offset"]] == [0, 3]
    assert [value for one in found for value in one["token_logprobs"]] == [-0.1, -0.2]
    assert found[0]["top_logprobs"][0] == {"Hel": -0.1, "Hi": -2.0}
    assert box.model.request.logprobs == 2


def test_the_list_of_models_and_one_of_them() -> None:
    box = FakeBox()
    box.model.card = type(box.model.card)("demo/clinical", 1, "Demo", 512)
    assert get(box, "/v1/models").json() == {
        "object": "list",
        "data": [
            {
                "id": "demo/clinical",
                "object": "model",
                "created": 1,
                "owned_by": "Demo",
                "context_length": 512,
                "role": "chat",
            }
        ],
    }
    assert get(box, "/v1/models/demo/clinical").json()["id"] == "demo/clinical"
    missing = get(box, "/v1/models/other")
    assert missing.status_code == 404 and error_of(missing)["code"] == "model_not_found"
