"""A box with an engine whose every step a test decides. The real engine is in ``test_end_to_end.py``."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from lumen_box.api.ports import News, State
from lumen_box.clock import Clock
from lumen_box.config import GatewaySettings, Settings
from lumen_box.engine.grammars import Grammars
from lumen_box.engine.imitation import Rendered
from lumen_box.engine.protocol import Accepted, Embed, Embedded, Finished, Generate, Queued, Timings, Tokens, Usage
from lumen_box.errors import LumenError, NoModel, NotFound, Unauthenticated
from lumen_box.schemas.metrics import Sample
from lumen_box.schemas.models import ModelCard

NO_TIME = Timings(0.0, 0.0, 0.0)
Script = Callable[["FakeAnswer"], AsyncIterator[News]]


def finished(reason: str = "stop", prompt: int = 5, completion: int = 3, reasoning: int = 0) -> Finished:
    return Finished(0, reason, Usage(prompt, completion, reasoning), NO_TIME)  # type: ignore[arg-type]


def says(*pieces: str | Tokens, end: Finished | LumenError | None = None) -> Script:
    """An answer of these pieces, one step each."""

    async def script(answer: FakeAnswer) -> AsyncIterator[News]:
        yield Accepted(0, 5)
        for at, piece in enumerate(pieces):
            await asyncio.sleep(0)
            yield Tokens(0, (at,), piece) if isinstance(piece, str) else piece
        if isinstance(end, LumenError):
            raise end
        yield end or finished(completion=len(pieces))

    return script


def refuses(error: LumenError) -> Script:
    async def script(answer: FakeAnswer) -> AsyncIterator[News]:
        raise error
        yield

    return script


def hangs(*pieces: str, accepted: bool = True) -> Script:
    """Says something, then nothing until it is cancelled."""

    async def script(answer: FakeAnswer) -> AsyncIterator[News]:
        if accepted:
            yield Accepted(0, 5)
        for piece in pieces:
            yield Tokens(0, (1,), piece)
        await answer.cancelled.wait()
        yield finished("cancelled")

    return script


def waits(*ahead: int, then: Script) -> Script:
    """Is told its places in the queue, one after the other, before it begins."""

    async def script(answer: FakeAnswer) -> AsyncIterator[News]:
        news = then(answer)
        yield await anext(news)
        for number in ahead:
            yield Queued(0, number)
            await asyncio.sleep(0.01)
        async for one in news:
            yield one

    return script


def slowly(seconds: float, then: Script) -> Script:
    """Needs time before it is accepted or refused."""

    async def script(answer: FakeAnswer) -> AsyncIterator[News]:
        await asyncio.sleep(seconds)
        async for one in then(answer):
            yield one

    return script


def babbles(text: str) -> Script:
    """Goes on until it is cancelled."""

    async def script(answer: FakeAnswer) -> AsyncIterator[News]:
        yield Accepted(0, 5)
        while not answer.cancelled.is_set():
            yield Tokens(0, (1,), text)
            await asyncio.sleep(0.001)

    return script


def embeds(*indices: int, end: Finished | LumenError | None = None) -> Script:
    """The vectors (n, -0.5, 1/3) of inputs n, in this order; then whatever ``end`` says."""

    async def script(answer: FakeAnswer) -> AsyncIterator[News]:
        yield Accepted(0, 5)
        for index in indices:
            await asyncio.sleep(0)
            yield Embedded(0, index, struct.pack("<3f", index, -0.5, 1 / 3))
        if isinstance(end, LumenError):
            raise end
        yield end or finished(completion=0)

    return script


class FakeAnswer:
    def __init__(self, request: Generate | Embed, script: Script) -> None:
        self.request, self._script = request, script
        self.cancelled = asyncio.Event()
        self.ended = False

    async def __aiter__(self) -> AsyncIterator[News]:
        async for news in self._script(self):
            self.ended = isinstance(news, Finished)
            yield news

    def cancel(self) -> None:
        if not self.ended:
            self.cancelled.set()


class FakeModel:
    """Answers by ``script``; keeps what it was asked."""

    def __init__(self, name: str = "clinical") -> None:
        self.card = ModelCard(name, 1_700_000_000, "Demo publisher", 512)
        self.script: Script = says("Hel", "lo")
        self.grammars = Grammars()
        self.rendered: list[list[dict[str, str]]] = []
        self.answers: list[FakeAnswer] = []
        self.counted = 0

    async def render(self, messages: Sequence[dict[str, str]]) -> Rendered:
        self.rendered.append(list(messages))
        return Rendered("".join(f"<{one['role']}>{one['content']}" for one in messages))

    async def count(self, prompt: Rendered) -> int:
        """A word is a token."""
        self.counted += 1
        return len(prompt.text.split())

    def submit(self, request: Generate) -> FakeAnswer:
        self.answers.append(FakeAnswer(request, self.script))
        return self.answers[-1]

    @property
    def request(self) -> Generate:
        request = self.answers[-1].request
        assert isinstance(request, Generate)
        return request


class FakeEmbedder:
    """Gives vectors by ``script``; keeps what it was asked."""

    width = 3

    def __init__(self, name: str = "search") -> None:
        self.card = ModelCard(name, 1_700_000_000, "Demo publisher", 512, "embedding")
        self.script: Script = embeds(0)
        self.answers: list[FakeAnswer] = []

    def embed(self, request: Embed) -> FakeAnswer:
        self.answers.append(FakeAnswer(request, self.script))
        return self.answers[-1]


class FakeModels:
    def __init__(self, *models: FakeModel) -> None:
        self.models = list(models)
        self.at_once = 2
        self.search = FakeEmbedder()
        self.forgotten: list[str] = []

    async def card(self, name: str) -> ModelCard:
        return self.search.card if name == self.search.card.id else (await self.get(name)).card

    async def embedder(self, name: str | None) -> FakeEmbedder:
        if name not in (None, self.search.card.id):
            raise NotFound("There is no such model here.")
        return self.search

    def places(self) -> int:
        return self.at_once

    def forget(self, owner: str) -> None:
        self.forgotten.append(owner)

    def listing(self) -> list[ModelCard]:
        return [one.card for one in self.models]

    async def get(self, name: str | None) -> FakeModel:
        if not self.models:
            raise NoModel("No model is active.")
        found = [one for one in self.models if name in (None, one.card.id)]
        if not found:
            raise NotFound("There is no such model here.")
        return found[0]


@dataclass(frozen=True)
class FakeToken:
    id: str
    scopes: frozenset[str]


class FakeTokens:
    """``chat-token`` may chat, ``metrics-token`` may read metrics, and so on: the scopes come first."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()

    def authenticate(self, text: str) -> FakeToken:
        scope, _, rest = text.partition("-")
        if not rest.startswith("token") or not self.still_valid(text):
            raise Unauthenticated("This token is not known here.")
        return FakeToken(text, frozenset(scope.split("+")))

    def still_valid(self, identity: str) -> bool:
        return identity not in self.revoked


@dataclass
class FakeBox:
    model: FakeModel = field(default_factory=FakeModel)
    sealed: bool = False
    loading: bool = False
    places: int = 2
    queue: int = 2
    clock: Clock = field(default_factory=Clock)
    tokens: FakeTokens = field(default_factory=FakeTokens)
    turned_away: list[tuple[str, str]] = field(default_factory=list)

    def refused(self, error: LumenError, who: str) -> None:
        self.turned_away.append((error.code, who))

    def __post_init__(self) -> None:
        gateway = GatewaySettings(queue=self.queue, body_bytes=1024 * 1024)
        self.settings = Settings(gateway=gateway)
        self.models = FakeModels(self.model)
        self.models.at_once = self.places

    def state(self) -> State:
        return "sealed" if self.sealed else "loading" if self.loading else "ready"

    def progress(self) -> int:
        return 40

    def samples(self) -> Iterable[Sample]:
        return [Sample("lumen_engine_restarts_total", "Restarts.", 2, "counter", (("model", 'a"b\n'),))]
