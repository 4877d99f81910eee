"""One model that is loaded and ready: its engine and its card, and what it takes to write or to embed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from ..catalogue import Installed
from ..clock import Clock
from ..engine import protocol
from ..engine.grammars import Grammars
from ..engine.imitation import Imitations, Rendered, pieces_of, unmarked
from ..engine.sampling import GREEDY
from ..engine.supervisor import Answer, Engine, News, VectorNews
from ..engine.templates import Renderer
from ..errors import NoModel
from ..schemas.models import ModelCard
from .sharing import Sharing
from .turns import Key, Resident

HEALTH_PROMPT: Final = "Hello"
HEALTH_TOKENS: Final = 4
CLAIM_SECONDS: Final = 30.0
INLINE: Final = 256 * 1024  # characters that are looked through without leaving the event loop


class RunningModel:
    """One model that is loaded and ready, whatever it is for.

    Whoever got it from the room has a claim on it until they have asked it something, or ``CLAIM_SECONDS`` are over: it
    is not unloaded between the two. ``closed``: it takes no new requests, since another model is to have its memory.
    """

    def __init__(self, installed: Installed, card: ModelCard, engine: Engine, clock: Clock) -> None:
        self.installed, self.card, self.engine = installed, card, engine
        self.closed = False
        self.since, self._clock, self._loaded = clock.now(), clock, clock.monotonic()
        self._used: float | None = None
        self._claims: deque[float] = deque()  # until when each holds

    @property
    def key(self) -> Key:
        """Under what it answers, whatever its version."""
        return self.installed.publisher, self.installed.name

    def claim(self) -> None:
        """Somebody is about to ask."""
        self._used = self._clock.monotonic()
        self._claims.append(self._used + CLAIM_SECONDS)

    def _asked(self) -> None:
        self._used = self._clock.monotonic()
        if self._claims:
            self._claims.popleft()

    def resident(self) -> Resident:
        """How it is used, for who decides what is unloaded."""
        now = self._clock.monotonic()
        while self._claims and self._claims[0] < now:
            self._claims.popleft()
        facts = self.engine.facts
        seconds = facts.load_seconds if facts else 0.0
        busy = bool(self._claims or self.engine.under_way)
        return Resident(self.key, self._loaded, seconds, self._used, busy, self.closed)

    async def check_health(self) -> None:
        """Has it do once what it is for; ``NoModel`` if nothing comes out."""
        raise NotImplementedError

    async def drain(self, seconds: float) -> None:
        """Waits until nobody is being answered any more, or ``seconds`` have passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while (status := self.engine.status()).running or status.waiting:
                    await asyncio.sleep(0.05)

    async def stop(self) -> None:
        await self.engine.stop()


class EmbeddingModel(RunningModel):
    """A model that turns texts into vectors of ``width`` numbers."""

    @property
    def width(self) -> int:
        facts = self.engine.facts
        if facts is None:
            raise NoModel("The model is not loaded.", then="Try again in a few seconds.")
        return facts.embedding

    def embed(self, request: protocol.Embed) -> Answer[VectorNews]:
        """Asks the engine. ``NoModel`` while there is none to ask."""
        self._asked()
        return self.engine.embed(request)

    async def check_health(self) -> None:
        """One real vector."""
        async with self.engine.embed(protocol.Embed((HEALTH_PROMPT,))) as answer:
            vectors = [news async for news in answer if isinstance(news, protocol.Embedded)]
        if not vectors or not any(vectors[0].vector):
            raise NoModel("The model was loaded but gave no vector.", then="Ask its publisher for another version.")


class ChatModel(RunningModel):
    """A model that writes."""

    def __init__(
        self,
        installed: Installed,
        card: ModelCard,
        engine: Engine,
        clock: Clock,
        renderer: Renderer,
        sharing: Sharing,
        imitations: Imitations,
        grammars: Grammars,
    ) -> None:
        super().__init__(installed, card, engine, clock)
        self.sharing, self._renderer, self._imitations, self.grammars = sharing, renderer, imitations, grammars

    async def render(self, messages: Sequence[dict[str, Any]]) -> Rendered:
        """The prompt of a conversation by the model's own template, in which no message passes for its marks."""
        self.sharing.renew()
        long = sum(len(message["content"]) for message in messages) > INLINE
        marked, mark = (
            await asyncio.to_thread(self._imitations.marked, messages) if long else self._imitations.marked(messages)
        )
        return unmarked(await self._renderer.render(marked), mark)

    async def count(self, prompt: Rendered) -> int:
        """How many tokens the engine reads for a prompt."""
        pieces = pieces_of(prompt.text, prompt.breaks)
        ids = [
            self.engine.tokenize(piece, add_special=first, parse_special=True)
            for first, piece in zip([True, *[False] * len(prompt.breaks)], pieces, strict=True)
        ]
        return sum(map(len, await asyncio.gather(*ids)))

    def submit(self, request: protocol.Generate) -> Answer[News]:
        """Asks the engine. ``NoModel`` while there is none to ask."""
        self._asked()
        return self.engine.submit(request)

    async def check_health(self) -> None:
        """One real generation; ``NoModel`` if nothing comes out."""
        async with self.engine.submit(protocol.Generate(HEALTH_PROMPT, GREEDY, max_tokens=HEALTH_TOKENS)) as answer:
            finished = [news async for news in answer if isinstance(news, protocol.Finished)]
        if not finished or finished[-1].reason not in ("stop", "length"):
            raise NoModel("The model was loaded but did not answer.", then="Ask its publisher for another version.")

    async def stop(self) -> None:
        await super().stop()
        await self._renderer.close()
