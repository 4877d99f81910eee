"""What the engine's tests share: a model encrypted on disk, an engine around it, and answers gathered up."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lumen_box.config import EngineSettings
from lumen_box.engine import launch, library
from lumen_box.engine.process import Launch, Patience, Weights
from lumen_box.engine.protocol import Accepted, Finished, Generate, Logprob, Tokens
from lumen_box.engine.sampling import GREEDY
from lumen_box.engine.supervisor import Answer, Engine
from lumen_box.sealed import stream

KEY = bytes(range(32))
OBJECT_ID = bytes(range(16))
CONTEXT = 512
SETTINGS = EngineSettings(parallel=4, context=CONTEXT, batch=256, threads=1)
# The machine that tests run on may be busy with other tests.
PATIENCE = Patience(start=60, silence=20, backoff=0.05, longest=0.2)


@functools.cache
def launcher() -> Launch:
    return launch.worker(library.find(os.environ), require=launch.REQUIRED)


def encrypt(gguf: Path) -> Path:
    """The stored object of a GGUF, beside it."""
    stored = gguf.with_suffix(".object")
    encryptor = stream.Encryptor(KEY, stream.object_context(OBJECT_ID))
    stored.write_bytes(encryptor.update(gguf.read_bytes()) + encryptor.finish())
    return stored


def weights(stored: Path, key: bytes = KEY) -> Weights:
    size = stored.stat().st_size
    return Weights(OBJECT_ID.hex(), size, lambda: os.open(stored, os.O_RDONLY | os.O_CLOEXEC), lambda: key)


@contextlib.asynccontextmanager
async def running(stored: Path, settings: EngineSettings = SETTINGS, **more: Any) -> AsyncIterator[Engine]:
    engine = Engine(weights(stored), settings, **{"launch": launcher(), "patience": PATIENCE} | more)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


@dataclass
class Said:
    """All that came of one request."""

    prompt_tokens: int = 0
    ids: list[int] = field(default_factory=list)
    text: str = ""
    reasoning: str = ""
    logprobs: list[Logprob] = field(default_factory=list)
    finished: Finished | None = None

    @property
    def first(self) -> dict[int, float]:
        """The most likely first tokens, with the logarithms of their chances."""
        return {one.token: one.logprob for one in self.logprobs[0].top}

    @property
    def reason(self) -> str:
        return self.finished.reason if self.finished else "unfinished"


async def gather(answer: Answer) -> Said:
    said = Said()
    async for news in answer:
        match news:
            case Accepted(_, count):
                said.prompt_tokens = count
            case Tokens():
                said.ids += news.ids
                said.text += news.text
                said.reasoning += news.reasoning
                said.logprobs += news.logprobs
            case Finished():
                said.finished = news
    return said


async def ask(engine: Engine, prompt: str | tuple[int, ...], **more: Any) -> Said:
    return await asyncio.wait_for(
        gather(engine.submit(Generate(prompt=prompt, **{"sampling": GREEDY, "max_tokens": 24} | more))), 60
    )
