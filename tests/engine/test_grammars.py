"""Trying grammars out in a helper: what is good comes back, what is not costs at most the helper."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from lumen_box.engine.gbnf import MAX_GRAMMAR
from lumen_box.engine.grammars import ANY_OBJECT, GrammarRefused, Grammars
from lumen_box.schemas import limits

from .schemas import deep

HOSTILE = [
    'root ::= "' + "a" * (1 << 20) + '"',
    "root ::= " + "(" * 10_000 + '"a"' + ")" * 10_000,
    'root ::= "a"\n' + "".join(f'r{at} ::= "a"\n' for at in range(3000)),
    "root ::= " + " | ".join(f'"a"{{{count}}} "b"' for count in range(1, 900)),
]
Scene = Callable[[Grammars], Awaitable[None]]


def run(scene: Scene, seconds: float = 30) -> None:
    async def whole() -> None:
        grammars = Grammars(seconds=seconds)
        try:
            await scene(grammars)
        finally:
            await grammars.close()

    asyncio.run(whole())


async def why(asking: Awaitable[str]) -> tuple[str, str]:
    with pytest.raises(GrammarRefused) as caught:
        await asking
    return caught.value.what, caught.value.path


def test_schemas_and_grammars_come_back_or_are_refused_in_words() -> None:
    async def scene(grammars: Grammars) -> None:
        assert await grammars.of_text('root ::= "a"', "ann") == 'root ::= "a"'
        assert (await grammars.of_schema({"const": None}, "ann")).startswith("root ::= r0\n")
        assert (await grammars.of_schema(ANY_OBJECT, "ann")).startswith("root ::= ")
        assert await why(grammars.of_text("root ::= a", "ann")) == ("the rule `a` is not defined", "")
        assert await why(grammars.of_schema({"items": {"not": {}}}, "ann")) == (
            "is not supported in a schema",
            ".items.not",
        )

    run(scene)


def test_hostile_ones_are_refused_and_the_next_one_is_answered() -> None:
    async def scene(grammars: Grammars) -> None:
        for text in HOSTILE:
            what, _ = await why(grammars.of_text(text, "eve"))
            assert "more than" in what or "too many ways" in what
        assert "nested" in (await why(grammars.of_schema(deep(300), "eve")))[0]
        assert "bytes" in (await why(grammars.of_schema({"title": "x" * 100_000}, "eve")))[0]
        assert await grammars.of_text('root ::= "a"', "ann")

    run(scene)


def test_one_that_takes_too_long_costs_its_helper_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(grammars: Grammars) -> None:
        first = await why(grammars.of_text('root ::= "a"', "ann"))  # no program starts in a millisecond
        assert first == ("it takes too long to be tried out", "")
        grammars._helper._timeout = 30
        assert await grammars.of_text('root ::= "a"', "ann")

    run(scene, seconds=0.001)


def test_what_was_good_is_remembered_for_its_owner_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(grammars: Grammars) -> None:
        asked: list[bytes] = []
        ask = grammars._ask

        def counted(payload: bytes) -> Any:
            asked.append(payload)
            return ask(payload)

        monkeypatch.setattr(grammars, "_ask", counted)
        for owner in ("ann", "ann", "bob", "ann"):
            await grammars.of_text('root ::= "a"', owner)
        assert len(asked) == 2
        await grammars.close()
        await grammars.of_text('root ::= "a"', "ann")
        assert len(asked) == 3

    run(scene)


def test_a_helper_that_was_taken_over_is_believed_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(grammars: Grammars) -> None:
        for reply in (b"[]", b"no JSON", b'{"grammar": 7}', b'{"refused": "x"}'):
            monkeypatch.setattr(grammars._helper, "request", lambda _, reply=reply: reply)
            assert "crash" in (await why(grammars.of_text('root ::= "a"', "ann")))[0]

    run(scene)


def test_what_the_interface_takes_is_what_is_tried_out() -> None:
    assert limits.MAX_GRAMMAR == MAX_GRAMMAR
