"""From an installed version to a running model that nobody is sent to yet."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Final

from ..bundle.manifest import Manifest
from ..catalogue import Installed
from ..clock import parse_stamp
from ..config import EngineSettings
from ..engine import protocol
from ..engine.grammars import Grammars
from ..engine.imitation import Imitations
from ..engine.launch import required
from ..engine.process import Process
from ..engine.supervisor import Engine, Weights
from ..engine.templates import Renderer
from ..errors import Damaged
from ..paths import open_regular
from ..progress import Advance, Report
from ..schemas.models import ModelCard
from . import prompts
from .box import Box
from .publishers import Publishers
from .purposes import CONTENT
from .running import ChatModel, EmbeddingModel, RunningModel
from .sharing import Sharing, refusing
from .store import Store
from .turns import Key

PAUSE: Final = 0.2  # seconds between two looks at how far a model is loaded

Start = Callable[[], Process]
Memory = Callable[[Engine], int]  # bytes that this engine's worker may take, asked each time one is started


class Starter:
    """Starts models one at a time; ``chats`` are those that write and still run, also before anybody is sent there."""

    def __init__(self, box: Box, publishers: Publishers, store: Store, start: Start) -> None:
        self._box, self._publishers, self._store, self._start = box, publishers, store, start
        self._engines: dict[Key, Engine] = {}
        self.grammars = Grammars(require=required(box.settings.engine.sandbox))
        self.chats: weakref.WeakSet[ChatModel] = weakref.WeakSet()

    def percent(self, key: Key) -> int | None:
        """How far the model is loaded; None for one that is not being loaded."""
        engine = self._engines.get(key)
        return None if engine is None else engine.status().percent

    @property
    def progress(self) -> int:
        """The same of whatever is least far; 0 where nothing is being loaded yet."""
        return min((engine.status().percent for engine in self._engines.values()), default=0)

    @property
    def loading(self) -> bool:
        return bool(self._engines)

    async def close(self) -> None:
        """Ends what all models share."""
        await self.grammars.close()

    async def start(
        self, installed: Installed, report: Report, memory: Memory, settings: EngineSettings
    ) -> RunningModel:
        """Loads it. Raises what is wrong with it, and leaves nothing behind."""
        manifest, key = self._store.manifest(installed), (installed.publisher, installed.name)
        engine = Engine(
            self.weights(manifest),
            settings,
            launch=self._start,
            reasoning=manifest.reasoning,
            role=manifest.role,
            memory=lambda: memory(engine),
        )
        self._engines[key] = engine
        try:
            facts = await _loaded(engine, installed, report)
        finally:
            del self._engines[key]
        card = self.card(installed, facts.context)
        if manifest.role == "embedding":
            return EmbeddingModel(installed, card, engine, self._box.clock)
        return await self._chat(installed, card, engine, manifest, facts)

    async def _chat(
        self, installed: Installed, card: ModelCard, engine: Engine, manifest: Manifest, facts: protocol.ModelFacts
    ) -> ChatModel:
        template = manifest.template or facts.chat_template
        require = required(self._box.settings.engine.sandbox)
        renderer = Renderer(template, bos=facts.bos, eos=facts.eos, clock=self._box.clock, require=require)
        try:
            imitations = await asyncio.to_thread(Imitations, facts.controls, manifest.reasoning or ())
            sharing = Sharing(engine, refusing(imitations, renderer.render), self._box.clock, self._published)
            running = ChatModel(installed, card, engine, self._box.clock, renderer, sharing, imitations, self.grammars)
            self.chats.add(running)
            await sharing.refresh()
        except BaseException:  # cancelled: the box is being sealed
            await asyncio.gather(engine.stop(), renderer.close())
            raise
        return running

    def _published(self) -> list[prompts.Prompt]:
        return prompts.listing(self._box)

    def card(self, installed: Installed, context: int) -> ModelCard:
        """How the model is listed."""
        alias = self._publishers.alias(installed.publisher)
        created = int(parse_stamp(installed.installed_at).timestamp())
        return ModelCard(f"{alias}/{installed.name}", created, alias, context, self._store.manifest(installed).role)

    def weights(self, manifest: Manifest) -> Weights:
        """Ciphertext and key of a manifest's object, fetched anew each time a worker needs them."""
        stored = manifest.model
        path = self._store.object_path(stored.id)
        return Weights(
            object_id=stored.id,
            stored_size=stored.stored_size,
            open=lambda: open_regular(path),
            key=lambda: self._box.vault.get(CONTENT, stored.id),
        )


async def _loaded(engine: Engine, installed: Installed, report: Report) -> protocol.ModelFacts:
    """Starts the engine and tells how far it is. Whoever does not want to hear any more stops it."""
    starting = asyncio.ensure_future(engine.start())
    try:
        while not starting.done():
            await asyncio.wait({starting}, timeout=PAUSE)
            report(Advance(engine.status().percent, 100, "%"))
        return starting.result()
    except OSError as error:
        raise Damaged(
            f"The stored weights of {installed.name}@{installed.version} cannot be read: {error.strerror}.",
            then="Install the model again from its medium.",
        ) from error
    except BaseException:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await engine.stop()
        raise
