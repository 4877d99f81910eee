"""A conversation that has outgrown the context: refused with both numbers, or trimmed where its sender said so."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from lumen_box.api.trimming import trimmed, turn_starts
from lumen_box.engine.imitation import Rendered
from lumen_box.errors import TooLong
from lumen_box.schemas.models import ModelCard

from .fakes import FakeBox
from .http import chat, error_of, events, run

SYSTEM = {"role": "system", "content": "be brief"}


def turn(number: int, words: int = 8) -> list[dict[str, Any]]:
    """A question and its answer, ``words`` tokens each."""
    return [{"role": role, "content": " ".join([f"{role[0]}{number}"] * words)} for role in ("user", "assistant")]


def conversation(turns: int, words: int = 8) -> list[dict[str, Any]]:
    """The last turn is still without an answer."""
    return [message for number in range(turns) for message in turn(number, words)][:-1]


@dataclass
class Counting:
    """A model for which a word is a token, and a message one more."""

    context: int
    rendered: list[int] = field(default_factory=list)

    @property
    def card(self) -> ModelCard:
        return ModelCard("m", 0, "p", self.context)

    async def render(self, messages: Any) -> Rendered:
        self.rendered.append(len(messages))
        return Rendered("\n".join(f"{one['role']}: {one['content']}" for one in messages))

    async def count(self, prompt: Rendered) -> int:
        return len(prompt.text.split())

    def submit(self, request: Any) -> Any:
        raise AssertionError


def said(model: Counting, messages: list[dict[str, Any]], max_tokens: int | None = None) -> tuple[list[str], int]:
    """The first word of each message that was left, and how many were dropped."""
    found = run(trimmed(model, messages, max_tokens))
    return [line.split()[1] for line in found.prompt.text.splitlines()], found.dropped


@pytest.mark.parametrize(
    ("messages", "context", "max_tokens", "left", "dropped"),
    [
        (conversation(2), 100, 10, ["u0", "a0", "u1"], 0),
        (conversation(3), 36, 10, ["u2"], 4),  # two turns are 27
        (conversation(3), 37, 10, ["u1", "a1", "u2"], 2),
        (conversation(3), 40, 10_000, ["u2"], 4),  # half stays for the prompt
        ([SYSTEM, *conversation(3)], 40, 10, ["be", "u1", "a1", "u2"], 2),
        ([*turn(0), SYSTEM, *conversation(3)], 40, 10, ["be", "u1", "a1", "u2"], 4),
        ([{"role": "assistant", "content": "hello"}, *conversation(3)], 37, 9, ["u1", "a1", "u2"], 3),
        ([*conversation(2), *turn(8)[1:]], 37, 10, ["u1", "a8"], 2),  # it goes on with an answer that was begun
        ([*conversation(2), *conversation(1)], 37, 9, ["u1", "u0"], 2),  # two questions in a row
    ],
    ids=["fits", "no room", "just room", "endless", "system", "late system", "greeting", "begun", "two questions"],
)
def test_whole_turns_go_from_the_oldest_on_and_system_messages_stay(
    messages: list[dict[str, Any]], context: int, max_tokens: int | None, left: list[str], dropped: int
) -> None:
    assert said(Counting(context), messages, max_tokens) == (left, dropped)


def test_where_no_length_is_asked_for_an_eighth_stays_for_the_answer() -> None:
    assert said(Counting(80), conversation(4)) == (["u0", "a0", "u1", "a1", "u2", "a2", "u3"], 0)  # 63 and 10
    assert said(Counting(72), conversation(4)) == (["u0", "a0", "u1", "a1", "u2", "a2", "u3"], 0)  # 63 and 9
    assert said(Counting(70), conversation(4))[1] == 2


@pytest.mark.parametrize(
    "messages",
    [
        conversation(1, words=200),
        [*turn(0), *conversation(1, words=200)],
        [SYSTEM | {"content": "x " * 200}, *conversation(3)],
        [SYSTEM | {"content": "x " * 200}],
        [{"role": "user", "content": "x" * 100_000}],
    ],
    ids=["one", "newest", "system", "only system", "huge"],
)
def test_what_does_not_fit_even_then_is_refused_with_both_numbers(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(TooLong, match=r"(20\d tokens|21\d tokens|100000 characters) .* context is 100") as refused:
        run(trimmed(Counting(100), messages, 10))
    assert refused.value.kept and refused.value.then


@pytest.mark.parametrize("turns", [2, 3, 10, 64, 1000])
@pytest.mark.parametrize("context", [30, 100, 1000, 8000])
def test_the_most_that_fits_is_found_with_few_renders(turns: int, context: int) -> None:
    model = Counting(context)
    left, dropped = said(model, conversation(turns), 10)
    fits = (context - 10 + 9) // 18  # turns of 18 tokens, the last of 9
    kept = -(-len(left) // 2)
    assert left[-1] == f"u{turns - 1}" and len(left) + dropped == 2 * turns - 1
    assert min(fits, turns) * 0.7 <= kept <= min(fits, turns)
    assert len(model.rendered) <= 2 * turns.bit_length() + 4


def test_a_long_conversation_begins_alike_for_some_turns() -> None:
    """Otherwise every turn would be read from its beginning again."""
    firsts = [said(Counting(600), conversation(turns), 10)[0][0] for turns in range(60, 100)]
    changes = sum(one != other for one, other in pairwise(firsts))
    assert changes <= 40 / 4 + 1 and len(set(firsts)) > 3


def test_what_is_far_too_long_is_never_counted() -> None:
    model = Counting(1000)
    messages = [*turn(0, words=100_000), *conversation(3)]
    left, dropped = said(model, messages, 10)
    assert dropped == 2 and left[0] == "u0"
    assert max(model.rendered) <= 5


def test_turns() -> None:
    assert turn_starts([SYSTEM]) == []
    assert turn_starts([SYSTEM, *conversation(2)]) == [1, 3]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("asks", "told"), [({"x_lumen_trim": True}, 2), ({}, None), ({"x_lumen_trim": False}, None)])
def test_the_client_is_told(stream: bool, asks: dict[str, Any], told: int | None) -> None:
    box = FakeBox()
    messages = [*turn(0, 300), *turn(1, 300)[:1]]  # 512 is the context
    response = chat(box, messages=messages, stream=stream, **asks)
    first = events(response)[0] if stream else response.json()
    assert first.get("x_lumen_trimmed") == told
    assert response.headers.get("x-lumen-trimmed") == (str(told) if told is not None else None)
    if stream:
        assert not any("x_lumen_trimmed" in event for event in events(response)[1:])
    assert len(box.model.rendered[-1]) == (1 if told else 3)


def test_a_refusal_is_openais() -> None:
    response = chat(FakeBox(), messages=conversation(1, 1000), stream=True, x_lumen_trim=True)
    assert response.status_code == 400 and error_of(response)["code"] == "context_length_exceeded"
    assert "1000 tokens" in error_of(response)["message"] and "512" in error_of(response)["message"]


def test_usage_in_the_first_chunk_stays_where_it_belongs() -> None:
    options = {"stream_options": {"include_usage": True}, "x_lumen_trim": True}
    first = events(chat(FakeBox(), stream=True, **options))[0]
    assert first["usage"] is None and first["x_lumen_trimmed"] == 0
