"""The engine room: one running engine for every active model that memory bears.

What is active stands in the catalogue; the room makes it so. A model that cannot be loaded does not keep the others
from running, and whoever asks for it is told why. One that only lacks memory *rests*: it is loaded when somebody asks
for it, in place of another (``line``, ``turns``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any

from ..bundle.manifest import Manifest
from ..catalogue import Active, Installed, ModelName
from ..errors import LumenError, NoModel, NoSpace, NotFound, Untrusted, UsageError
from ..progress import Report, silent
from ..schemas.metrics import Sample
from ..schemas.models import ModelCard
from .box import Box
from .budget import Budget
from .line import Line, StillLoading
from .measures import samples
from .publishers import Publishers
from .running import ChatModel, EmbeddingModel, RunningModel
from .starting import Start, Starter
from .store import Store
from .turns import Key, Resident


class EngineRoom:
    """Starts, finds and replaces running models. Lives on one event loop; one change of what runs at a time."""

    def __init__(self, box: Box, publishers: Publishers, store: Store, start: Start) -> None:
        self._box, self._publishers, self._store = box, publishers, store
        self.starter = Starter(box, publishers, store, start)
        settings = box.settings
        self._budget = Budget(settings.engine.memory_mib << 20, self._active_sizes, lambda: self._running.values())
        self._line = Line(
            self, most=settings.gateway.queue, idle_seconds=60.0 * settings.engine.idle_minutes, now=box.clock.monotonic
        )
        self._running: dict[Key, RunningModel] = {}
        self._resting: set[Key] = set()  # active, and not loaded since memory does not bear all
        self._failed: dict[Key, LumenError] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()
        self._changer: asyncio.Task[Any] | None = None
        self.loading = False  # what is active, as it was when the box was opened

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
            self.put(await self.start(installed))
        except NoSpace as error:
            if self._running:
                self._resting.add(key)
            else:
                self._failed[key] = error
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
        await self._line.close()
        async with self._lock:
            await asyncio.gather(*(running.stop() for running in self._running.values()), return_exceptions=True)
            self._running.clear()
            self._resting.clear()
            await self.starter.close()
            self.loading = False

    async def start(
        self, installed: Installed, report: Report = silent, *, beside: RunningModel | None = None
    ) -> RunningModel:
        """A running model that nobody is sent to yet. Raises what is wrong with it, and leaves nothing behind.

        ``beside`` is what it will replace: then it is laid out as that is, or not loaded at all. Otherwise it would
        stay as small as it had to be while both were in memory.
        """
        key, weights = (installed.publisher, installed.name), self._store.manifest(installed).model.size
        settings = self._box.settings.engine
        facts = beside.engine.facts if beside else None
        if facts and not facts.embedding:
            settings = replace(settings, parallel=facts.parallel, context=facts.context, kv_type=facts.kv_type)
        return await self.starter.start(
            installed, report, lambda engine: self._budget.of(key, weights, engine), settings
        )

    def _active_sizes(self) -> dict[Key, int]:
        """Bytes of the weights of every active model that could be loaded."""
        sizes = {}
        for active in self._box.catalogue.active():
            if (active.publisher, active.name) not in self._failed:
                with contextlib.suppress(LumenError):
                    installed = self._box.catalogue.one(ModelName(active.name, active.publisher, active.version), {})
                    sizes[active.publisher, active.name] = self._store.manifest(installed).model.size
        return sizes

    async def share(self) -> list[ChatModel]:
        """Has every model share the prompts that are published now. Returns those that answer."""
        await asyncio.gather(*(running.sharing.refresh() for running in self.starter.chats))
        return self.answering()

    def answering(self) -> list[ChatModel]:
        """Every model that writes answers now."""
        return [running for running in self._running.values() if isinstance(running, ChatModel)]

    def forget(self, owner: str) -> None:
        """Wipes what any engine keeps of this owner's ended answers; of everybody's where ``owner`` is empty."""
        for running in {*self.starter.chats, *self._running.values()}:
            running.engine.forget(owner)

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
        self._resting.discard(key)
        return before

    def take(self, publisher: str, name: str) -> RunningModel | None:
        """Nothing answers under this name any more. Returns what did."""
        self._failed.pop((publisher, name), None)
        self._resting.discard((publisher, name))
        return self._running.pop((publisher, name), None)

    def retire(self, running: RunningModel, seconds: float = 60.0) -> None:
        """Lets answers under way finish, then unloads."""

        async def ending() -> None:
            await running.drain(seconds)
            await running.stop()

        task = asyncio.create_task(ending())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def places(self) -> int:
        """How many requests the loaded models work on at once: sequences of those that write, or else of the others."""
        facts = [(isinstance(one, ChatModel), one.engine.facts) for one in self._running.values()]
        writing = sum(fact.parallel for writes, fact in facts if fact and writes)
        return writing or sum(fact.parallel for _, fact in facts if fact) or self._box.settings.engine.parallel or 1

    def residents(self) -> list[Resident]:
        """Everything that is loaded, and how it is used."""
        return [running.resident() for running in self._running.values()]

    def close_for(self, key: Key) -> None:
        """From now on this model takes no new requests: another one is to have its memory."""
        if running := self._running.get(key):
            running.closed = True

    async def unload(self, key: Key) -> None:
        """Takes a model out of memory, to be loaded again when somebody asks for it."""
        if running := self._running.pop(key, None):
            self._resting.add(key)
            await running.stop()

    async def load(self, key: Key) -> RunningModel:
        """Loads what is active under this name and sends people there. ``NoSpace`` leaves it waiting for memory."""
        if present := self._running.get(key):
            present.closed = False  # nobody else waits for its memory any more
            return present
        active = self._box.catalogue.active_version(*key)
        if active is None:
            raise NotFound(f"{key[1]} is not active any more.")
        try:
            running = await self.start(self.check_allowed(active))
        except NoSpace:
            raise
        except LumenError as error:
            self._failed[key] = error
            self._resting.discard(key)
            raise
        self.put(running)
        return running

    def resting(self, publisher: str, name: str) -> bool:
        """Whether it is active, and will be loaded when somebody asks for it."""
        return (publisher, name) in self._resting

    def percent(self, publisher: str, name: str) -> int | None:
        """How far it is loaded; None where it is not being loaded."""
        return self.starter.percent((publisher, name))

    def listing(self) -> list[ModelCard]:
        """Whatever can be asked, also what would have to be loaded for it."""
        return [running.card for running in self._running.values()] + [self._card(key) for key in sorted(self._resting)]

    def _card(self, key: Key) -> ModelCard:
        active = self._box.catalogue.active_version(*key)
        installed = self._box.catalogue.one(ModelName(key[1], key[0], active.version if active else None), {})
        return self.starter.card(installed, self._store.manifest(installed).context)

    async def card(self, name: str) -> ModelCard:
        """The card of the model of that name, whatever it is for."""
        installed = self._asked_for(name, "chat")
        key = (installed.publisher, installed.name)
        if running := self._running.get(key):
            return running.card
        if key in self._resting:
            return self._card(key)
        raise self._why_not(installed)

    async def get(self, name: str | None) -> ChatModel:
        """The model of that name, or the default for chat."""
        running = await self._require(name, "chat")
        if not isinstance(running, ChatModel):
            raise UsageError(
                f"{running.card.id} is an embedding model: it turns texts into vectors, and does not write.",
                then="Name a chat model, or ask this one at /v1/embeddings.",
            )
        return running

    async def embedder(self, name: str | None) -> EmbeddingModel:
        """The model of that name, or the default for embeddings."""
        running = await self._require(name, "embedding")
        if not isinstance(running, EmbeddingModel):
            raise UsageError(
                f"{running.card.id} is a chat model: it writes, and does not turn texts into vectors.",
                then="Name an embedding model, or ask this one at /v1/chat/completions.",
            )
        return running

    async def _require(self, name: str | None, role: str) -> RunningModel:
        installed = self._asked_for(name, role)
        key = (installed.publisher, installed.name)
        running = self._running.get(key)
        if key in self._resting or (running is not None and running.closed):
            running = await self._line.wait_for(key)
        if running is None:
            raise self._why_not(installed)
        running.claim()
        return running

    def _asked_for(self, name: str | None, role: str) -> Installed:
        return self._box.catalogue.require_active(_wanted_name(name), role, self._publishers.aliases())

    def _why_not(self, installed: Installed) -> NoModel:
        """Why an active model does not answer."""
        if self.loading:
            return StillLoading("The model is still being loaded.", then="Try again in a few seconds.")
        reason = self._failed.get((installed.publisher, installed.name))
        return NoModel(
            f"{installed.name}@{installed.version} is active but not loaded." + (f" {reason.what}" if reason else ""),
            then=(reason and reason.then) or "An operator can activate another version, or start the gateway again.",
        )

    @property
    def failures(self) -> dict[Key, LumenError]:
        return dict(self._failed)

    @property
    def ready(self) -> bool:
        return any(running.engine.ready for running in self._running.values())

    @property
    def busy_loading(self) -> bool:
        """Whether any model is being loaded, or is to be."""
        return self.loading or self.starter.loading or bool(self._line.wanted)

    @property
    def progress(self) -> int:
        """How far what is being loaded is, in per cent; the least of several."""
        return self.starter.progress

    def samples(self) -> Iterable[Sample]:
        """What the running models say about themselves."""
        return samples(self._running.values())


def _wanted_name(name: str | None) -> ModelName | None:
    if name is None:
        return None
    try:
        return ModelName.parse(name)
    except UsageError:
        return ModelName("?")  # no model has this name: the answer is "no such model", not "bad request"
