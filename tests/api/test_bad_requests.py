"""Bad input at ``/v1``: a clear sentence in OpenAI's shape that names the parameter, and the engine never asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .fakes import FakeBox
from .http import CHAT, USER, chat, error_of, get, post

NESTED = "[" * 5_000 + "]" * 5_000

BAD_MEMBERS: list[tuple[dict[str, Any], str]] = [
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": float("nan")}, "NaN"),
    ({"temperature": float("inf")}, "Infinity"),
    ({"temperature": "0.5"}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"temperature": 10**400}, "temperature"),
    ({"top_p": -1}, "top_p"),
    ({"top_p": 1.5}, "top_p"),
    ({"top_k": -1}, "top_k"),
    ({"top_k": 1.5}, "top_k"),
    ({"min_p": -0.5}, "min_p"),
    ({"presence_penalty": -2.5}, "presence_penalty"),
    ({"frequency_penalty": 3}, "frequency_penalty"),
    ({"repeat_penalty": 0}, "repeat_penalty"),
    ({"repeat_penalty": -1}, "repeat_penalty"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": -5}, "max_tokens"),
    ({"max_tokens": 2**31}, "max_tokens"),
    ({"max_tokens": "5"}, "max_tokens"),
    ({"max_tokens": 5, "max_completion_tokens": 5}, "max_completion_tokens"),
    ({"seed": -1}, "seed"),
    ({"seed": 2**32 - 1}, "seed"),
    ({"seed": 2**70}, "seed"),
    ({"stop": ""}, "stop"),
    ({"stop": []}, "stop"),
    ({"stop": ["a"] * 17}, "stop"),
    ({"stop": ["a", ""]}, "stop[1]"),
    ({"stop": "x" * 257}, "stop"),
    ({"stop": 3}, "stop"),
    ({"n": 2}, "n"),
    ({"n": 0}, "n"),
    ({"stream": "yes"}, "stream"),
    ({"stream": 1}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"other": True}}, "stream_options.other"),
    ({"logprobs": 3}, "logprobs"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": -1}, "top_logprobs"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "", "schema": {}}}}, "json_schema.name"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": []}}}, "json_schema.schema"),
    ({"grammar": ""}, "grammar"),
    ({"grammar": True}, "grammar"),
    ({"user": 7}, "user"),
    ({"user": "x" * 257}, "user"),
    ({"model": 7}, "model"),
    ({"model": ""}, "model"),
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": None}, "messages"),
    ({"messages": [USER] * 4097}, "messages"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [USER, {"role": "root", "content": "x"}]}, "messages[1].role"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
    ({"messages": [{**USER, "name": "bob"}]}, "messages[0].name"),
    ({"messages": ["hello"]}, "messages[0]"),
]


@pytest.mark.parametrize(("members", "named"), BAD_MEMBERS, ids=lambda value: str(value)[:40])
def test_a_wrong_value_names_its_parameter(members: dict[str, Any], named: str) -> None:
    box = FakeBox()
    response = chat(box, **members)
    error = error_of(response)
    assert response.status_code == 400 and error["type"] == "invalid_request_error"
    assert named in (error["param"] or error["message"])
    assert not box.model.answers and not box.model.rendered


@pytest.mark.parametrize(
    "name",
    ["tools", "tool_choice", "functions", "logit_bias", "audio", "modalities", "store", "metadata", "service_tier",
     "reasoning_effort", "prediction", "parallel_tool_calls", "best_of", "grammars", "Temperature", "x" * 5000, "ké"],
)  # fmt: skip
def test_an_unsupported_parameter_is_refused_never_ignored(name: str) -> None:
    box = FakeBox()
    response = chat(box, **{name: True})
    error = error_of(response)
    assert response.status_code == 400 and error["code"] == "unsupported_parameter"
    assert error["param"].startswith(name[:1]) and len(error["message"]) < 400
    assert not box.model.answers


def test_a_null_asks_for_nothing() -> None:
    box = FakeBox()
    assert chat(box, tools=None, temperature=None, logit_bias=None).status_code == 200
    assert box.model.request.sampling.temperature == type(box.model.request.sampling)().temperature


BAD_BODIES: list[tuple[bytes, str]] = [
    (b"", "malformed_body"),
    (b"hello", "malformed_body"),
    (b'{"messages": [', "malformed_body"),
    (b"\xff\xfe{}", "malformed_body"),
    (json.dumps(CHAT).encode("utf-16"), "malformed_body"),
    (b'{"messages":[],"messages":[]}', "malformed_body"),
    (b'{"temperature": NaN}', "malformed_body"),
    (b'{"temperature": -Infinity}', "malformed_body"),
    (b'{"seed": ' + b"9" * 5000 + b"}", "malformed_body"),
    (b'{"messages":[{"role":"user","content":"\\ud800"}]}', "malformed_body"),
    (NESTED.encode(), "malformed_body"),
    (b'{"messages":' + b"[" * 400 + b"]" * 400 + b"}", "malformed_body"),
    (b'{"messages":' + b'{"a":' * 3000 + b"1" + b"}" * 3000 + b"}", "malformed_body"),
    (b"[]", "invalid_parameter"),
    (b"null", "invalid_parameter"),
    (b"3", "invalid_parameter"),
    (b'"text"', "invalid_parameter"),
    (b"{}", "invalid_parameter"),
]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize(("body", "code"), BAD_BODIES, ids=lambda value: str(value)[:30])
def test_a_bad_body_is_refused(path: str, body: bytes, code: str) -> None:
    box = FakeBox()
    response = post(box, path, body)
    assert response.status_code == 400 and error_of(response)["code"] == code
    assert len(response.content) < 1000 and not box.model.answers


@pytest.mark.parametrize("declared", [True, False])
def test_ten_megabytes_are_too_many(declared: bool) -> None:
    data = b'{"messages": "' + b"x" * 10_000_000 + b'"}'
    headers = {"content-length": str(len(data))} if declared else {"transfer-encoding": "chunked"}
    response = post(FakeBox(), "/v1/chat/completions", data, headers=headers)
    assert response.status_code == 413 and error_of(response)["code"] == "body_too_large"


def test_a_large_body_within_the_cap_is_read() -> None:
    box = FakeBox()
    response = chat(box, messages=[{"role": "user", "content": "x" * 900_000}])
    assert response.status_code == 200 and len(box.model.rendered[0][0]["content"]) == 900_000


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"])
def test_a_form_is_no_json(kind: str) -> None:
    response = post(FakeBox(), "/v1/chat/completions", CHAT, headers={"content-type": kind})
    assert response.status_code == 415 and error_of(response)["code"] == "wrong_content_type"


def test_an_unknown_model_is_named_as_openai_does() -> None:
    response = chat(FakeBox(), model="gpt-4o")
    error = error_of(response)
    assert response.status_code == 404 and (error["code"], error["param"]) == ("model_not_found", "model")


def test_without_a_model_the_default_answers() -> None:
    assert post(FakeBox(), "/v1/chat/completions", {"messages": [USER]}).json()["model"] == "clinical"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/models"])
def test_a_sealed_box_says_so(path: str) -> None:
    box = FakeBox(sealed=True)
    body = CHAT if "chat" in path else {"prompt": "x"}
    response = get(box, path) if path == "/v1/models" else post(box, path, body)
    assert response.status_code == 503 and error_of(response)["code"] == "sealed"
    assert "retry-after" in response.headers and "unlock" in error_of(response)["message"]


def test_without_an_active_model_there_is_no_answer() -> None:
    box = FakeBox()
    box.models.models.clear()
    response = chat(box)
    assert response.status_code == 503 and error_of(response)["code"] == "no_model"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("GET", "/docs", 404), ("GET", "/openapi.json", 404), ("GET", "/", 404),
     ("GET", "/v1/chat/completions", 405), ("DELETE", "/v1/models", 405), ("GET", "/v1/models/", 404)],
)  # fmt: skip
def test_a_wrong_address_is_answered_in_the_same_shape(method: str, path: str, status: int) -> None:
    from .http import asking, run

    async def once() -> Any:
        async with asking(FakeBox()) as client:
            return await client.request(method, path)

    response = run(once())
    assert response.status_code == status
    error_of(response)
