"""Alone on the engine, a request draws the very tokens that llama-cpp-python's ``Llama`` draws from the same file."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import llama_cpp
import pytest

from lumen_box.engine.sampling import Sampling
from tests.engine.support import CONTEXT, SETTINGS, ask, running

PROMPT = "The nurse on the night ward asks about a letter of discharge; "
LONG = "Every step is written down, so that the auditor can see who did what. " * 12  # more than one batch
TOKENS = 48

CASES: dict[str, tuple[str, Sampling]] = {
    "greedy": (PROMPT, Sampling(temperature=0.0)),
    "greedy with penalties": (
        PROMPT,
        Sampling(temperature=0.0, repeat_penalty=1.3, frequency_penalty=0.4, presence_penalty=0.2),
    ),
    "defaults": (PROMPT, Sampling(seed=7)),
    "another seed": (PROMPT, Sampling(seed=2**32 - 2)),
    "seed nought": (PROMPT, Sampling(seed=0)),
    "hot": (PROMPT, Sampling(temperature=1.7, top_k=0, top_p=1.0, min_p=0.0, seed=11)),
    "narrow": (PROMPT, Sampling(temperature=1.2, top_k=8, top_p=0.7, min_p=0.2, seed=3)),
    "sampled with penalties": (PROMPT, Sampling(repeat_penalty=1.5, presence_penalty=-0.5, seed=5)),
    "a prompt of several batches": (LONG, Sampling(seed=9)),
}


def by_llama(gguf: Path) -> dict[str, list[int]]:
    llama = llama_cpp.Llama(
        str(gguf),
        n_ctx=CONTEXT,
        n_batch=SETTINGS.batch,
        n_threads=1,
        n_threads_batch=1,
        verbose=False,
    )
    tokens = {}
    for name, (prompt, sampling) in CASES.items():
        llama.reset()
        llama.set_seed(sampling.seed or 0)
        tokens[name] = _drawn(llama, prompt, _keywords(sampling))
    llama.close()
    return tokens


def _keywords(sampling: Sampling) -> dict[str, Any]:
    names = {"temperature": "temp"}
    values = dataclasses.asdict(sampling)
    return {names.get(name, name): value for name, value in values.items() if name not in ("seed", "ignore_eos")}


def _drawn(llama: llama_cpp.Llama, prompt: str, keywords: dict[str, Any]) -> list[int]:
    drawn: list[int] = []
    for token in llama.generate(llama.tokenize(prompt.encode(), special=True), **keywords):
        if len(drawn) == TOKENS or llama_cpp.llama_vocab_is_eog(llama._model.vocab, token):
            break
        drawn.append(token)
    return drawn


@pytest.mark.parametrize("parallel", [1, 4])
def test_a_fixed_seed_gives_the_tokens_of_llama(gguf: Path, stored: Path, parallel: int) -> None:
    expected = by_llama(gguf)

    async def by_engine() -> dict[str, list[int]]:
        async with running(stored, dataclasses.replace(SETTINGS, parallel=parallel)) as engine:
            return {
                name: (await ask(engine, prompt, sampling=sampling, max_tokens=TOKENS)).ids
                for name, (prompt, sampling) in CASES.items()
            }

    assert asyncio.run(by_engine()) == expected
    assert len({tuple(tokens) for tokens in expected.values()}) > 6  # the cases do differ
    assert all(expected.values())
