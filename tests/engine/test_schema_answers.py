"""Answers under a grammar, from the real engine: the weights are random, so only the grammar makes sense of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lumen_box.engine.protocol import Generate
from lumen_box.engine.sampling import GREEDY, Sampling
from lumen_box.engine.schema_grammar import schema_grammar
from lumen_box.engine.supervisor import Engine
from lumen_box.errors import UsageError

from ..support.json_schema import satisfies
from ..support.tiny_model import write_tiny_model
from .schemas import RECORD, SHAPES, TREE
from .support import Said, ask, encrypt, gather, running

Scene = Callable[[Engine], Awaitable[None]]
WORD = 'root ::= [a-z]{3,9} "."'
COUNTED = 'root ::= (("a"{1,9}){1,9}){40,} "b"'
ANYWHERE = "root ::= " + " | ".join(f'"a"{{{count}}} "b"' for count in range(1, 900))
ENOUGH = 400


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encrypt(write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf"))


def run(stored: Path, scene: Scene, **more: Any) -> None:
    async def whole() -> None:
        async with running(stored, **more) as engine:
            await scene(engine)

    asyncio.run(whole())


def usage_tokens(said: Said) -> int:
    assert said.finished
    return said.finished.usage.completion_tokens


def test_every_whole_answer_satisfies_the_schema(stored: Path) -> None:
    seen: set[str] = set()

    async def scene(engine: Engine) -> None:
        for schema in (RECORD, SHAPES, TREE):
            grammar = schema_grammar(schema)
            asked = [
                ask(engine, "Hello", grammar=grammar, sampling=Sampling(seed=seed), max_tokens=ENOUGH)
                for seed in range(12)
            ]
            answers = await asyncio.gather(*asked)
            whole = [said.text for said in answers if said.reason == "stop"]
            assert len(whole) > 6 and {said.reason for said in answers} <= {"stop", "length"}
            assert [text for text in whole if not satisfies(json.loads(text), schema)] == []
            seen.update(whole)
        assert len(seen) > 9

    run(stored, scene)


def test_a_grammar_ends_its_answer_and_nothing_else_does(stored: Path) -> None:
    async def scene(engine: Engine) -> None:
        sure = await ask(engine, "Hello", grammar='root ::= "Yes, of course." | "No."', max_tokens=ENOUGH)
        assert (sure.text in ("Yes, of course.", "No."), sure.reason) == (True, "stop")
        cut = await ask(engine, "Hello", grammar="root ::= [a-z]{200}", max_tokens=5)
        assert (cut.reason, usage_tokens(cut)) == ("length", 5)
        exactly = await ask(engine, "Hello", grammar='root ::= "."', max_tokens=1)
        assert (exactly.text, exactly.reason) == (".", "stop")
        nothing = await ask(engine, "Hello", grammar='root ::= ""', max_tokens=5)
        assert (nothing.text, nothing.reason) == ("", "stop")
        endless = await ask(engine, "Hello", grammar="root ::= [a-z]+", sampling=Sampling(seed=1, ignore_eos=True))
        assert (endless.reason, endless.text.isalpha()) == ("length", True)
        characters = await ask(engine, "Hello", grammar="root ::= [à-ü€😀]{6}", max_tokens=ENOUGH)
        assert len(characters.text) == 6 and set(characters.text) <= {chr(code) for code in range(0xE0, 0xFD)} | set(
            "€😀"
        )

    run(stored, scene)


def test_a_seed_says_the_same_again_alone_and_beside_others(stored: Path) -> None:
    """Nobody's grammar takes a number from anybody else's dice."""
    wanted = {"grammar": WORD, "sampling": Sampling(seed=11, temperature=1.5), "max_tokens": ENOUGH}

    async def scene(engine: Engine) -> None:
        free = await ask(engine, "Hello", sampling=Sampling(seed=5), isolated=True)
        first = await ask(engine, "Hello", **wanted, isolated=True)
        again = await ask(engine, "Hello", **wanted, isolated=True)
        assert first.ids == again.ids and first.text == again.text
        beside = [ask(engine, "Hello", grammar=WORD, sampling=Sampling(seed=seed)) for seed in range(5)]
        _, *others = await asyncio.gather(ask(engine, "Hello", **wanted), *beside)
        assert len({said.text for said in others}) > 1
        assert (await ask(engine, "Hello", sampling=Sampling(seed=5), isolated=True)).ids == free.ids

    run(stored, scene)


def test_a_grammar_that_cannot_be_followed_harms_nobody(stored: Path) -> None:
    async def scene(engine: Engine) -> None:
        before = engine.status().restarts
        alone = await ask(engine, "Hello", isolated=True)
        others = [engine.submit(Generate("Hello", GREEDY, max_tokens=60)) for _ in range(3)]
        gathered = asyncio.gather(*(gather(one) for one in others))
        hostile = [COUNTED, ANYWHERE, "root ::= x", "(" * 10_000, "root ::= " + '"a"' * 100_000]
        for grammar in hostile:
            with pytest.raises(UsageError, match="grammar"):
                await ask(engine, "Hello", grammar=grammar, sampling=Sampling(seed=1), max_tokens=ENOUGH)
        assert [len(said.ids) for said in await gathered] == [60] * 3
        assert (await ask(engine, "Hello", isolated=True)).ids == alone.ids
        assert engine.status().restarts == before

    run(stored, scene)
