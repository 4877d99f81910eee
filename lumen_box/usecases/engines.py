"""The engine room: one running engine for every active model.

What is active stands in the catalogue; the room makes it so. A model that cannot be loaded does not keep the others
from running, and whoever asks for it is told why.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..bundle.manifest import Manifest
from ..catalogue import Installed, ModelName
from ..clock import parse_stamp
from ..engine import protocol
from ..engine.process import Process
from ..engine.sampling import GREEDY
from ..engine.supervisor import Answer, Engine, Weights
from ..engine.templates import Renderer
from ..errors import LumenError, NoModel, UsageError
from ..schemas.models import ModelCard
from .box import Box
from .publishers import Publishers
from .purposes import CONTENT
from .store import Store

HEALTH_PROMPT = "Hello"
HEALTH_TOKENS = 4

Start = Callable[[], Process]


@dataclass(frozen=True)
class Sample:
    """One number for ``/metrics``."""

    name: str
    help: str
    value: float
    kind: Literal["gauge", "counter"]
    labels: tuple[tuple[str, str], ...]


class Running:
    """One model that is loaded and ready to answer."""

    def __init__(self, installed: Installed, card: ModelCard, engine: Engine, renderer: Renderer) -> None:
        self.installed, self.card, self.engine = installed, card, engine
        self._renderer = renderer

    async def render(self, messages: Sequence[dict[str, Any]]) -> str:
        """The prompt of a conversation by the model's own template."""
        return await self._renderer.render(messages)

    def submit(self, request: protocol.Generate) -> Answer:
        """Asks the engine. ``NoModel`` while there is none to ask."""
        return self.engine.submit(request)

    async def check_health(self) -> None:
        """One real generation; ``NoModel`` if nothing comes out."""
        async with self.engine.submit(protocol.Generate(HEALTH_PROMPT, GREEDY, max_tokens=HEALTH_TOKENS)) as answer:
            finished = [news async for news in answer if isinstance(news, protocol.Finished)]
        if not finished or finished[-1].reason not in ("stop", "length"):
            raise NoModel("The model was loaded but did not answer.", then="Ask its publisher for another version.")

    async def drain(self, seconds: float) -> None:
        """Waits until nobody is being answered any more, or ``seconds`` have passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while (status := self.engine.status()).running or status.waiting:
                    await asyncio.sleep(0.05)

    async def stop(self) -> None:
        await self.engine.stop()
        await self._renderer.close()


class EngineRoom:
    """Starts, finds and replaces running models. Lives on one event loop."""

    def __init__(self, box: Box, publishers: Publishers, store: Store, start: Start) -> None:
        self._box, self._publishers, self._store, self._start = box, publishers, store, start
        self._running: dict[tuple[str, str], Running] = {}
        self._failed: dict[tuple[str, str], LumenError] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self.loading = False

    async def open(self) -> None:
        """Loads every active model, one after the other."""
        self.loading = True
        try:
            for active in self._box.catalogue.active():
                key = (active.publisher, active.name)
                if key not in self._running:
                    await self._open_one(key, ModelName(active.name, active.publisher, active.version))
        finally:
            self.loading = False

    async def _open_one(self, key: tuple[str, str], name: ModelName) -> None:
        try:
            installed = self._box.catalogue.one(name, {})
            self.refuse_revoked(installed, self._store.manifest(installed), only_stopped=True)
            self._running[key] = await self.start(installed)
            self._failed.pop(key, None)
        except LumenError as error:
            self._failed[key] = error

    async def close(self) -> None:
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await asyncio.gather(*(running.stop() for running in self._running.values()), return_exceptions=True)
        self._running.clear()

    async def start(self, installed: Installed) -> Running:
        """A running model that nobody is sent to yet. Raises what is wrong with it, and leaves nothing behind."""
        manifest = self._store.manifest(installed)
        engine = Engine(
            self.weights(manifest), self._box.settings.engine, launch=self._start, reasoning=manifest.reasoning
        )
        facts = await engine.start()
        publisher = self._publishers.get(installed.publisher)
        card = ModelCard(
            id=f"{publisher.alias}/{installed.name}",
            created=int(parse_stamp(installed.installed_at).timestamp()),
            owned_by=publisher.alias,
            context=facts.context,
        )
        renderer = Renderer(
            manifest.template or facts.chat_template, bos=facts.bos, eos=facts.eos, clock=self._box.clock
        )
        return Running(installed, card, engine, renderer)

    def weights(self, manifest: Manifest) -> Weights:
        """Ciphertext and key of a manifest's object, fetched anew each time a worker needs them."""
        stored = manifest.model
        path = self._store.object_path(stored.id)
        return Weights(
            object_id=stored.id,
            stored_size=stored.stored_size,
            open=lambda: os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC),
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
            except LumenError as error:
                del self._running[key]
                self._failed[key] = error
                await running.stop()
                stopped.append(running.card.id)
        return stopped

    def running(self, publisher: str, name: str) -> Running | None:
        """What runs under this name."""
        return self._running.get((publisher, name))

    def put(self, running: Running) -> Running | None:
        """From now on ``running`` answers under its name. Returns what did before."""
        key = (running.installed.publisher, running.installed.name)
        before, self._running[key] = self._running.get(key), running
        self._failed.pop(key, None)
        return before

    def take(self, publisher: str, name: str) -> Running | None:
        """Nothing answers under this name any more. Returns what did."""
        self._failed.pop((publisher, name), None)
        return self._running.pop((publisher, name), None)

    def retire(self, running: Running, seconds: float = 60.0) -> None:
        """Lets answers under way finish, then unloads."""

        async def ending() -> None:
            await running.drain(seconds)
            await running.stop()

        task = asyncio.create_task(ending())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def listing(self) -> list[ModelCard]:
        return [running.card for running in self._running.values()]

    async def get(self, name: str | None) -> Running:
        """The model of that name, or the default for chat."""
        wanted = _wanted_name(name)
        installed = self._box.catalogue.require_active(wanted, "chat", self._publishers.aliases())
        key = (installed.publisher, installed.name)
        running = self._running.get(key)
        if running is None:
            if self.loading:
                raise NoModel("The model is still being loaded.", then="Try again in a few seconds.")
            reason = self._failed.get(key)
            raise NoModel(
                f"{installed.name}@{installed.version} is active but not loaded."
                + (f" {reason.what}" if reason else ""),
                then="An operator can activate another version, or start the gateway again.",
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


def _wanted_name(name: str | None) -> ModelName | None:
    if name is None:
        return None
    try:
        return ModelName.parse(name)
    except UsageError:
        return ModelName("?")  # no model has this name: the answer is "no such model", not "bad request"
