"""Answers under a grammar, by a model with random weights: whatever it would rather say, the grammar is kept."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from lumen_box.engine.sampling import Sampling
from lumen_box.engine.supervisor import Engine
from lumen_box.errors import LumenError, UsageError
from tests.engine.support import ask, encrypt, running
from tests.support.tiny_model import write_tiny_model

PERSON = r"""
root ::= "{\"name\":" string ",\"age\":" [1-9] [0-9]{0,2} ",\"tags\":[" (string ("," string){0,3})? "]}"
string ::= "\"" ([^"\\\x00-\x1f] | "\\" ["\\nt]){0,12} "\""
"""
HOT = {"temperature": 1.6, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
# Each x doubles the ways that are open, and the grammar leaves no other choice.
AMBIGUOUS = "\n".join(f'r{n} ::= "x" r{n + 1} p | "x" r{n + 1} q' for n in range(30))
AMBIGUOUS = f'root ::= r0\n{AMBIGUOUS}\nr30 ::= "y"\np ::= "a"?\nq ::= "b"?'


def with_engine(stored: Path, use: Callable[[Engine], Awaitable[None]], **more: object) -> None:
    async def run() -> None:
        async with running(stored, **more) as engine:  # type: ignore[arg-type]
            await use(engine)

    asyncio.run(run())


def test_every_answer_is_what_the_grammar_describes_and_ends_when_it_is_whole(stored: Path) -> None:
    async def use(engine: Engine) -> None:
        asked = [
            ask(engine, "Who?", grammar=PERSON, max_tokens=200, sampling=Sampling(seed=seed, **HOT))  # type: ignore[arg-type]
            for seed in range(24)
        ]
        answers = await asyncio.gather(*asked)
        for said in answers:
            person = json.loads(said.text)
            assert list(person) == ["name", "age", "tags"]
            assert 1 <= person["age"] <= 999 and len(person["name"]) <= 12 and len(person["tags"]) <= 4
            assert said.reason == "stop"
        assert len({said.text for said in answers}) == len(answers)

    with_engine(stored, use)


def test_alone_a_seed_gives_the_same_constrained_answer_again(stored: Path) -> None:
    async def use(engine: Engine) -> None:
        sampling = Sampling(seed=11, repeat_penalty=1.2, **HOT)  # type: ignore[arg-type]
        one, two = [await ask(engine, "Who?", grammar=PERSON, sampling=sampling, isolated=True) for _ in range(2)]
        assert one.ids == two.ids

    with_engine(stored, use)


@pytest.mark.parametrize(
    ("grammar", "pattern"),
    [
        ('root ::= "yes" | "no"', "yes|no"),
        ('root ::= "é你🎉"', "é你🎉"),
        ("root ::= [а-я]{5}", "[а-я]{5}"),
        ("root ::= [0-9]+", "[0-9]+"),
        ('root ::= ("a" | "b"?) "c"', "[ab]?c"),
    ],
)
def test_characters_of_several_bytes_choices_and_repetitions(stored: Path, grammar: str, pattern: str) -> None:
    async def use(engine: Engine) -> None:
        for seed in range(4):
            said = await ask(engine, "Who?", grammar=grammar, sampling=Sampling(seed=seed, **HOT))  # type: ignore[arg-type]
            if said.reason == "stop":
                assert re.fullmatch(pattern, said.text), said.text
            else:  # cut short
                assert said.reason == "length" and re.match("[0-9]", said.text)

    with_engine(stored, use)


def test_what_the_model_would_say_anyway_is_left_as_it_is(tmp_path: Path) -> None:
    model = encrypt(write_tiny_model(tmp_path / "m.gguf", script=("one", " two", " three")))

    async def use(engine: Engine) -> None:
        prompt = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
        assert (await ask(engine, prompt, grammar="root ::= [a-z ]+")).text == "one two three"
        assert (await ask(engine, prompt, grammar='root ::= "one two"')).text == "one two"
        cut = await ask(engine, prompt, grammar='root ::= "one" " two"+ [.]', max_tokens=2)
        assert (cut.text, cut.reason) == ("one two", "length")

    with_engine(model, use)


@pytest.mark.parametrize("opened", [True, False])
def test_the_grammar_begins_after_the_reasoning(tmp_path: Path, opened: bool) -> None:
    script = ["<think>", "one", " {", " two", "</think>", "\n\n", " three"]
    model = encrypt(write_tiny_model(tmp_path / "m.gguf", script=script))

    async def use(engine: Engine) -> None:
        prompt = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n" + ("<think>" if opened else "")
        said = await ask(engine, prompt, grammar='root ::= "<think>" [0-9]')
        assert said.reasoning == "one { two"
        assert re.fullmatch("<think>[0-9]", said.text), said
        assert said.reason == "stop"

    with_engine(model, use, reasoning=("<think>", "</think>"))


@pytest.mark.parametrize(
    ("grammar", "error", "words"),
    [
        ("root ::= " + "(" * 10_000 + '"a"' + ")" * 10_000, UsageError, "nested more than 64"),
        ('root ::= "' + "a" * 1_000_000 + '"', UsageError, "more than 131072 bytes"),
        ('root ::= a "x" | "y"\na ::= b root\nb ::= c\nc ::= ""', UsageError, "left recursion"),
        ('root ::= "a"{5,2}', UsageError, "maximum below its minimum"),
        ("root ::= x", UsageError, "not defined"),
        (AMBIGUOUS, UsageError, "more ways open"),
    ],
)
def test_a_hostile_grammar_costs_nobody_else_anything(
    stored: Path, grammar: str, error: type[LumenError], words: str
) -> None:
    async def use(engine: Engine) -> None:
        pid = engine.status().pid
        other = asyncio.create_task(ask(engine, "Hello", max_tokens=60))
        with pytest.raises(error, match=words):
            await ask(engine, "Who?", grammar=grammar, max_tokens=60)
        assert (await other).reason in ("stop", "length")
        assert engine.status().pid == pid

    with_engine(stored, use)
