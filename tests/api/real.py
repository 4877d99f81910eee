"""The gateway over the real engine, sandboxed and on an encrypted model."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lumen_box.engine.grammars import Grammars
from lumen_box.engine.imitation import Rendered
from lumen_box.engine.protocol import Generate
from lumen_box.engine.supervisor import Answer, Engine
from lumen_box.schemas.models import ModelCard

from ..engine.support import CONTEXT, SETTINGS, running
from .fakes import FakeBox
from .gateway import Served, served


class RealModel:
    """A model of the real engine; only the template is written out here."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.grammars = Grammars()
        self.card = ModelCard("clinical", 1_700_000_000, "Demo publisher", engine.facts.context)  # type: ignore[union-attr]

    async def render(self, messages: Sequence[dict[str, str]]) -> Rendered:
        turns = "".join(f"<|im_start|>{one['role']}\n{one['content']}<|im_end|>\n" for one in messages)
        return Rendered(f"{turns}<|im_start|>assistant\n")

    async def count(self, prompt: Rendered) -> int:
        return len(await self.engine.tokenize(prompt.text, add_special=True, parse_special=True))

    def submit(self, request: Generate) -> Answer:
        return self.engine.submit(request)


@contextlib.asynccontextmanager
async def real(
    stored: Path, folder: Path, *, places: int = 4, queue: int = 12, context: int = CONTEXT, **more: Any
) -> AsyncIterator[tuple[Served, Engine]]:
    """A gateway with so many places, and the engine behind it; ``more`` is for the engine."""
    settings = replace(SETTINGS, parallel=places, context=context)
    async with running(stored, settings, **more) as engine:
        box = FakeBox(model=RealModel(engine), places=places, queue=queue)  # type: ignore[arg-type]
        async with served(box, folder) as one:
            yield one, engine
