"""The engine room: one running engine for every active model.

What is active stands in the catalogue; the room makes it so. A model that cannot be loaded does not keep the others
from running, and whoever asks for it is told why.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final

from ..bundle.manifest import Manifest
from ..catalogue import Active, Installed, ModelName
from ..clock import parse_stamp
from ..engine import protocol
from ..engine.grammars import Grammars
from ..engine.imitation import Imitations
from ..engine.process import Process
from ..engine.supervisor import Engine, Weights
from ..engine.templates import Renderer
from ..errors import Damaged, LumenError, NoModel, Untrusted, UsageError
from ..paths import open_regular
from ..progress import Advance, Report, silent
from ..schemas.metrics import Sample
from ..schemas.models import ModelCard
from . import prompts
from .box import Box
from .publishers import Publishers
from .purposes import CONTENT
from .running import ChatModel, EmbeddingModel, RunningModel
from .sharing import Sharing, refusing
from .store import Store

PAUSE: Final = 0.2  # seconds between two looks at how far a model is loaded

Start = Callable[[], Process]


class EngineRoom:
    """Starts, finds and replaces running models. Lives on one event loop; one change of what runs at a time."""

    def __init__(self, box: Box, publishers: Publishers, store: Store, start: Start) -> None:
        self._box, self._publishers, self._store, self._start = box, publishers, store, start
        self._running: dict[tuple[str, str], RunningModel] = {}
        self._loaded: weakref.WeakSet[ChatModel] = weakref.WeakSet()  # also those that nobody is sent to yet
        self._failed: dict[tuple[str, str], LumenError] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._grammars = Grammars()
        self._lock = asyncio.Lock()
        self._changer: asyncio.Task[Any] | None = None
        self.loading = False

    @contextlib.asynccontextmanager
    async def changing(self) -> AsyncIterator[None]:
        """Whoever changes what runs waits here for the change before. :meth:`close` does not wait: it cancels."""
        async with self._lock:
            self._changer = asyncio.current_task()
            try:
                yield
            finally:
                self._changer = None

    async def open(self) -> None:
        """Loads every active model, one after the other."""
        self.loading = True
        try:
            for active in self._box.catalogue.active():
                async with self.changing():
                    await self._open_one(active.publisher, active.name)
        finally:
            self.loading = False

    async def _open_one(self, publisher: str, name: str) -> None:
        key = (publisher, name)
        active = self._box.catalogue.active_version(publisher, name)
        if active is None or key in self._running:  # changed while others were being loaded
            return
        try:
            installed = self.check_allowed(active)
            self._running[key] = await self.start(installed)
            self._failed.pop(key, None)
        except LumenError as error:
            self._failed[key] = error

    def check_allowed(self, active: Active) -> Installed:
        """What ``active`` names, if its manifest is as it was installed, and it was not revoked with ``stop``."""
        installed = self._box.catalogue.one(ModelName(active.name, active.publisher, active.version), {})
        self.refuse_revoked(installed, self._store.manifest(installed), only_stopped=True)
        return installed

    async def close(self) -> None:
        """Unloads everything at once, also what is just being loaded."""
        if self._changer is not None and self._changer is not asyncio.current_task():
            self._changer.cancel()
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        async with self._lock:
            await asyncio.gather(*(running.stop() for running in self._running.values()), return_exceptions=True)
            self._running.clear()
            await self._grammars.close()
            self.loading = False

    async def start(self, installed: Installed, report: Report = silent) -> RunningModel:
        """A running model that nobody is sent to yet. Raises what is wrong with it, and leaves nothing behind."""
        manifest, alias = self._store.manifest(installed), self._publishers.alias(installed.publisher)
        engine = Engine(
            self.weights(manifest),
            self._box.settings.engine,
            launch=self._start,
            reasoning=manifest.reasoning,
            role=manifest.role,
        )
        facts = await _loaded(engine, installed, report)
        card = ModelCard(
            id=f"{alias}/{installed.name}",
            created=int(parse_stamp(installed.installed_at).timestamp()),
            owned_by=alias,
            context=facts.context,
            role=manifest.role,
        )
        if manifest.role == "embedding":
            return EmbeddingModel(installed, card, engine)
        template = manifest.template or facts.chat_template
        renderer = Renderer(template, bos=facts.bos, eos=facts.eos, clock=self._box.clock)
        try:
            imitations = await asyncio.to_thread(Imitations, facts.controls, manifest.reasoning or ())
            sharing = Sharing(engine, refusing(imitations, renderer.render), self._box.clock, self._published)
            running = ChatModel(installed, card, engine, renderer, sharing, imitations, self._grammars)
            self._loaded.add(running)
            await sharing.refresh()
        except BaseException:  # cancelled: the box is being sealed
            await asyncio.gather(engine.stop(), renderer.close())
            raise
        return running

    def _published(self) -> list[prompts.Prompt]:
        return prompts.listing(self._box)

    async def share(self) -> list[ChatModel]:
        """Has every model share the prompts that are published now. Returns those that answer."""
        await asyncio.gather(*(running.sharing.refresh() for running in self._loaded))
        return self.answering()

    def answering(self) -> list[ChatModel]:
        """Every model that writes answers now."""
        return [running for running in self._running.values() if isinstance(running, ChatModel)]

    def forget(self, owner: str) -> None:
        """Wipes what any engine keeps of this owner's ended answers; of everybody's where ``owner`` is empty."""
        for running in {*self._loaded, *self._running.values()}:
            running.engine.forget(owner)

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

    def refuse_revoked(self, installed: Installed, manifest: Manifest, *, only_stopped: bool = False) -> None:
        """``Untrusted`` if the publisher took this model, its object or this box back."""
        revocations = self._publishers.revocations(installed.publisher)
        subject = {"path": manifest.path, "objects": [manifest.model.id], "box": self._box.identity.box_id}
        found = revocations.find(**subject)  # type: ignore[arg-type]
        if found and (found.stop or not only_stopped):
            revocations.refuse(**subject)  # type: ignore[arg-type]

    async def enforce_revocations(self) -> list[str]:
        """Unloads at once what a publisher revoked with ``stop``; answers under way end. Returns the names."""
        stopped = []
        for key, running in list(self._running.items()):
            try:
                self.refuse_revoked(running.installed, self._store.manifest(running.installed), only_stopped=True)
            except Untrusted as error:
                del self._running[key]
                self._failed[key] = error
                await running.stop()
                stopped.append(f"{running.card.id}@{running.installed.version}")
        return stopped

    def running(self, publisher: str, name: str) -> RunningModel | None:
        """What runs under this name."""
        return self._running.get((publisher, name))

    def put(self, running: RunningModel) -> RunningModel | None:
        """From now on ``running`` answers under its name. Returns what did before."""
        key = (running.installed.publisher, running.installed.name)
        before, self._running[key] = self._running.get(key), running
        self._failed.pop(key, None)
        return before

    def take(self, publisher: str, name: str) -> RunningModel | None:
        """Nothing answers under this name any more. Returns what did."""
        self._failed.pop((publisher, name), None)
        return self._running.pop((publisher, name), None)

    def retire(self, running: RunningModel, seconds: float = 60.0) -> None:
        """Lets answers under way finish, then unloads."""

        async def ending() -> None:
            await running.drain(seconds)
            await running.stop()

        task = asyncio.create_task(ending())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def listing(self) -> list[ModelCard]:
        return [running.card for running in self._running.values()]

    async def card(self, name: str) -> ModelCard:
        """The card of the model of that name, whatever it is for."""
        return self._require(name, "chat").card

    async def get(self, name: str | None) -> ChatModel:
        """The model of that name, or the default for chat."""
        running = self._require(name, "chat")
        if not isinstance(running, ChatModel):
            raise UsageError(
                f"{running.card.id} is an embedding model: it turns texts into vectors, and does not write.",
                then="Name a chat model, or ask this one at /v1/embeddings.",
            )
        return running

    async def embedder(self, name: str | None) -> EmbeddingModel:
        """The model of that name, or the default for embeddings."""
        running = self._require(name, "embedding")
        if not isinstance(running, EmbeddingModel):
            raise UsageError(
                f"{running.card.id} is a chat model: it writes, and does not turn texts into vectors.",
                then="Name an embedding model, or ask this one at /v1/chat/completions.",
            )
        return running

    def _require(self, name: str | None, role: str) -> RunningModel:
        wanted = _wanted_name(name)
        installed = self._box.catalogue.require_active(wanted, role, self._publishers.aliases())
        key = (installed.publisher, installed.name)
        running = self._running.get(key)
        if running is None:
            if self.loading:
                raise NoModel("The model is still being loaded.", then="Try again in a few seconds.")
            reason = self._failed.get(key)
            raise NoModel(
                f"{installed.name}@{installed.version} is active but not loaded."
                + (f" {reason.what}" if reason else ""),
                then=(reason and reason.then)
                or "An operator can activate another version, or start the gateway again.",
            )
        return running

    @property
    def failures(self) -> dict[tuple[str, str], LumenError]:
        return dict(self._failed)

    @property
    def ready(self) -> bool:
        return any(running.engine.ready for running in self._running.values())

    def samples(self) -> Iterable[Sample]:
        for running in self._running.values():
            status, labels = running.engine.status(), (("model", running.card.id),)
            yield Sample("lumen_engine_restarts_total", "Workers replaced", status.restarts, "counter", labels)
            yield Sample("lumen_engine_running", "Sequences being decoded", status.running, "gauge", labels)
            yield Sample("lumen_engine_waiting", "Requests waiting in the engine", status.waiting, "gauge", labels)
            if status.facts:
                size = status.facts.resident_bytes
                yield Sample("lumen_engine_loaded_bytes", "Memory of the worker after loading", size, "gauge", labels)


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


def _wanted_name(name: str | None) -> ModelName | None:
    if name is None:
        return None
    try:
        return ModelName.parse(name)
    except UsageError:
        return ModelName("?")  # no model has this name: the answer is "no such model", not "bad request"
