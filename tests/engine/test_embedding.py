"""Vectors from the real engine are those of llama-cpp-python on the same file, alone and among others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import llama_cpp
import numpy as np
import numpy.typing as npt
import pytest

from lumen_box.config import EngineSettings
from lumen_box.engine.process import Weights
from lumen_box.engine.protocol import Accepted, Embed, Embedded, Finished, Generate
from lumen_box.engine.supervisor import Engine, check
from lumen_box.errors import Damaged, NoModel, TooLong, UsageError
from tests.engine.support import PATIENCE, encrypt, launcher, running, weights
from tests.support import tiny_bert
from tests.support.tiny_model import write_tiny_model

Vectors = npt.NDArray[np.float32]

SETTINGS = EngineSettings(batch=64, threads=1, flash_attention="off")  # as in ``Llama``
ALONE, AMONG = 1e-6, 1e-3  # the greatest difference of a number; measured: 0 and 1.1e-4
LONG = "nobody outside hears any of it, and every step is written down; " * 7  # more than an ordinary step
SHORT = tuple(
    f"{word} {rest}".strip()
    for word in ("the nurse", "a letter", "night", "ward and box", "every step is written down")
    for rest in ("", "asks", "of the discharge, and of what was said before it was signed by both")
)
TEXTS = (LONG, *SHORT)


def _bert(path: Path, **shape: object) -> Path:
    return tiny_bert.write_tiny_bert(path, **shape)  # type: ignore[arg-type]


MODELS = {
    "bert, mean": lambda path: _bert(path, pooling=tiny_bert.MEAN),
    "bert, first token": lambda path: _bert(path, pooling=tiny_bert.CLS),
    "bert that names no pooling": lambda path: _bert(path, pooling=None),
    "llama, mean": lambda path: write_tiny_model(path, context=256, pooling=tiny_bert.MEAN),
    "llama, last token": lambda path: write_tiny_model(path, context=256, pooling=tiny_bert.LAST),
}


@contextlib.asynccontextmanager
async def embedding(gguf: Path, settings: EngineSettings = SETTINGS) -> AsyncIterator[Engine]:
    async with running(encrypt(gguf), settings, role="embedding") as engine:
        yield engine


async def vectors(engine: Engine, *inputs: str | tuple[int, ...], owner: str = "") -> tuple[Vectors, int]:
    """One row for each input, and the tokens that were read."""
    rows: dict[int, Vectors] = {}
    tokens = 0
    async with asyncio.timeout(60):
        async for news in engine.embed(Embed(tuple(inputs), owner=owner)):
            match news:
                case Embedded():
                    rows[news.index] = np.frombuffer(news.vector, "<f4")
                case Finished():
                    assert news.reason == "stop"
                    tokens = news.usage.prompt_tokens
    return np.stack([rows[index] for index in range(len(inputs))]), tokens


def by_llama(gguf: Path, texts: tuple[str, ...]) -> Vectors:
    pooling = llama_cpp.LLAMA_POOLING_TYPE_UNSPECIFIED
    if "none" in gguf.name:
        pooling = llama_cpp.LLAMA_POOLING_TYPE_MEAN
    llama = llama_cpp.Llama(
        str(gguf), embedding=True, n_ctx=256, n_batch=256, n_ubatch=256, n_threads=1, n_threads_batch=1,
        pooling_type=pooling, verbose=False,
    )  # fmt: skip
    try:
        return np.array([llama.embed(text, normalize=True) for text in texts], np.float32)
    finally:
        llama.close()


@pytest.mark.parametrize("name", MODELS)
def test_vectors_are_llamas_alone_and_among_others(name: str, tmp_path: Path) -> None:
    gguf = MODELS[name](tmp_path / f"{'none' if 'no pooling' in name else 'tiny'}.gguf")
    expected = by_llama(gguf, TEXTS)

    async def scene() -> None:
        async with embedding(gguf) as engine:
            facts = engine.facts
            assert facts and facts.embedding == expected.shape[1] and facts.pooling
            found, tokens = await vectors(engine, LONG)
            assert tokens > SETTINGS.batch and np.abs(found[0] - expected[0]).max() <= AMONG
            for text, row in zip(SHORT[:4], expected[1:], strict=False):
                found, _ = await vectors(engine, text)
                assert np.abs(found[0] - row).max() <= ALONE
            together, tokens = await vectors(engine, *TEXTS)
            assert np.abs(together - expected).max() <= AMONG and tokens > len(TEXTS)
            crowd = await asyncio.gather(*(vectors(engine, text, owner=text) for text in TEXTS))
            assert np.abs(np.stack([rows[0] for rows, _ in crowd]) - expected).max() <= AMONG
            assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
            assert np.unique(expected.round(4), axis=0).shape == expected.shape, "or any mixture would pass"

    asyncio.run(scene())


def test_what_it_cannot_do_is_refused_and_the_next_request_answered(tmp_path: Path) -> None:
    gguf = _bert(tmp_path / "tiny.gguf")

    async def scene() -> None:
        async with embedding(gguf) as engine:
            assert engine.facts and engine.facts.context == 256
            with pytest.raises(TooLong, match=r"`input\[1\]` has \d{3,} tokens.*reads 256"):
                await vectors(engine, "the", "nurse " * 400)
            with pytest.raises(UsageError, match="empty"):
                await vectors(engine, ())
            with pytest.raises(UsageError, match="does not have"):
                await vectors(engine, (10**6,))
            with pytest.raises(UsageError, match="2048"):
                await vectors(engine, *["a"] * 2049)
            with pytest.raises(UsageError, match="does not write"):
                async for _ in engine.submit(Generate("Hello")):
                    pass
            exactly, tokens = await vectors(engine, (5,) * 256)
            assert tokens == 256 and exactly.shape[0] == 1

    asyncio.run(scene())


def test_one_that_writes_does_not_embed(stored: Path) -> None:
    async def scene() -> None:
        async with running(stored) as engine:
            with pytest.raises(UsageError, match="does not embed"):
                await vectors(engine, "the nurse")

    asyncio.run(scene())


def test_cancelling_frees_the_engine_and_a_lost_worker_is_said(tmp_path: Path) -> None:
    gguf = write_tiny_model(tmp_path / "tiny.gguf", context=2048, pooling=tiny_bert.LAST, layers=8, width=256)

    async def scene() -> None:
        async with embedding(gguf) as engine:
            answer = engine.embed(Embed(("and on " * 700,) * 200))
            async for news in answer:
                if isinstance(news, Embedded):
                    answer.cancel()
                last = news
            assert isinstance(last, Finished) and last.reason == "cancelled"
            (_, tokens) = await vectors(engine, "the nurse")
            assert tokens
            answer = engine.embed(Embed(("and on " * 700,) * 200))
            with pytest.raises(NoModel):
                async for news in answer:
                    if isinstance(news, Accepted):
                        os.kill(engine.status().pid, signal.SIGKILL)

    asyncio.run(scene())


def test_an_unsound_model_gives_no_vector(tmp_path: Path) -> None:
    gguf = _bert(tmp_path / "spoilt.gguf", spoilt=True)

    async def scene() -> None:
        async with embedding(gguf) as engine:
            with pytest.raises(NoModel, match="not finite"):
                await vectors(engine, "the nurse")

    asyncio.run(scene())


def test_a_model_that_only_reads_is_refused_for_chat_before_it_is_installed(tmp_path: Path) -> None:
    stored = encrypt(_bert(tmp_path / "tiny.gguf"))

    async def scene(found: Weights) -> None:
        facts = await check(found, SETTINGS, launch=launcher(), patience=PATIENCE, role="embedding")
        assert facts.pooling == "mean"
        with pytest.raises(Damaged, match="cannot chat"):
            await check(found, SETTINGS, launch=launcher(), patience=PATIENCE)

    asyncio.run(scene(weights(stored)))
