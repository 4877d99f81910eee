"""Texts that would end the process in llama.cpp's tokenizer are read or refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lumen_box.engine.pile import Pile
from lumen_box.engine.protocol import Generate, Tokenize
from lumen_box.engine.tokenizing import LONGEST_RUN, ORDINARY_RUN, longest_run
from lumen_box.errors import TooLong
from tests.engine.support import ask, encrypt, running
from tests.support.tiny_model import write_tiny_model


@pytest.fixture
def recursive(tmp_path: Path) -> Path:
    """A model whose vocabulary is split by a pattern for which llama.cpp recurses once a character."""
    gguf = write_tiny_model(tmp_path / "recursive.gguf")
    raw = gguf.read_bytes()
    assert raw.count(b"gpt-2") == 1
    gguf.write_bytes(raw.replace(b"gpt-2", b"bloom"))
    return encrypt(gguf)


@pytest.mark.parametrize("letter", ["a", "é", "1", "'"])
def test_a_word_of_a_hundred_thousand_letters_is_read(recursive: Path, letter: str) -> None:
    """On an ordinary thread's stack about 25,000 end the process."""

    async def run() -> None:
        async with running(recursive) as engine:
            assert len(await engine.tokenize(letter * 100_000)) > 10_000
            with pytest.raises(TooLong, match=r"has \d{3,} tokens"):
                await ask(engine, letter * 8_192)
            short = letter * (ORDINARY_RUN - 1)
            long = letter * (ORDINARY_RUN + 1)
            assert len(await engine.tokenize(short)) <= len(await engine.tokenize(long))
            assert engine.status().restarts == 0

    asyncio.run(run())


def test_a_word_longer_than_any_is_refused(recursive: Path) -> None:
    async def run() -> None:
        async with running(recursive) as engine:
            with pytest.raises(TooLong, match=f"{LONGEST_RUN + 1} characters in a row"):
                await engine.tokenize("x" * (LONGEST_RUN + 1))
            with pytest.raises(TooLong, match="in a row"):
                await engine.tokenize(" " * (LONGEST_RUN + 1))
            assert len((await ask(engine, "Hello")).ids) == 24

    asyncio.run(run())


def test_a_text_that_cannot_fit_is_refused_before_its_tokens_are_counted(stored: Path) -> None:
    """Or eight megabytes from one person would hold up everybody for seconds, and a stream of them for ever."""

    async def run() -> None:
        async with running(stored) as engine:
            with pytest.raises(TooLong, match=r"has \d{6} tokens or more, but this model's context is 512"):
                await ask(engine, "ab " * 2_700_000)
            with pytest.raises(TooLong, match=r"has \d{4} tokens, but"):  # this one might have fitted
                await ask(engine, "ab " * 2_000)

    asyncio.run(run())


def test_the_shortest_is_prepared_first_and_what_was_withdrawn_not_at_all() -> None:
    pile = Pile()
    for number, prompt in enumerate(("a long one", "short", (1, 2, 3), "small")):
        pile.put(Generate(prompt=prompt, id=number))
    pile.put(Tokenize(9, "the longest of all"))
    assert pile.withdraw(0)
    assert not pile.withdraw(0)
    assert [pile.take().id for _ in range(4)] == [2, 1, 3, 9]


@pytest.mark.parametrize(
    ("text", "run"), [("", 0), ("abc de", 3), ("a     b", 5), ("\n\n\t x", 4), ("日本語 x", 3), ("a\u00a0\u3000b", 2)]
)
def test_runs_end_where_white_space_begins_or_ends(text: str, run: int) -> None:
    assert longest_run(text) == run
