"""The whole appliance in one process: the box, whom it trusts, what it holds, and what runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from ..accounts.tokens import Tokens
from ..audit import Event
from ..bundle.manifest import Manifest
from ..clock import Clock
from ..config import Settings
from ..engine import launch, library
from ..engine.process import Process
from ..engine.supervisor import Weights, check
from ..errors import Damaged, Locked, LumenError
from ..paths import open_regular
from ..schemas.metrics import Sample
from ..vault.slots import Unlock
from . import staging
from .box import Box
from .engines import EngineRoom
from .publishers import Publishers
from .purposes import MANIFEST
from .starting import Start
from .store import Store

MAX_REFUSALS, REFUSALS_SECONDS = 10, 60.0  # lines in the log, so that a stranger cannot fill it

State = Literal["ready", "sealed", "no_model", "loading", "stopping"]


class Appliance:
    """What the gateway serves; ``start`` starts one engine worker in its sandbox, and has a default."""

    def __init__(self, box: Box, start: Start | None = None) -> None:
        self.box, self._start = box, start or self._sandboxed_worker
        self.publishers = Publishers(box)
        self.store = Store(box.home, box.disk, box.clock, lambda id: box.vault.get_or_none(MANIFEST, id))
        self.models = EngineRoom(box, self.publishers, self.store, self._start)
        self.stopping = False
        self._refusals: list[float] = []
        self._unsaid = 0
        self._opening: asyncio.Task[None] | None = None

    @property
    def settings(self) -> Settings:
        return self.box.settings

    @property
    def clock(self) -> Clock:
        return self.box.clock

    @property
    def tokens(self) -> Tokens:
        return self.box.tokens

    @property
    def sealed(self) -> bool:
        return self.box.sealed

    def unlock(self, key: Unlock, actor: str) -> None:
        """Opens the vault, and makes the catalogue agree with what is really there."""
        self.box.unlock(key, actor)
        with contextlib.suppress(Locked), self.box.administration():  # an install under way is not to be disturbed
            self._take_stock()

    def _take_stock(self) -> None:
        """A model whose manifest is there and cannot be read stays listed, so that it can be mended or removed."""
        catalogue, found = self.box.catalogue, {entry.key: entry for entry in self.store.found()}
        unreadable = [e for e in catalogue.installed() if e.key not in found and self.store.has(e.key)]
        catalogue.rebuild([*found.values(), *unreadable])
        staging.clear(self.box.home, self.box.disk, {entry.object for entry in catalogue.installed()})

    def open_models(self) -> None:
        """Begins to load what is active, in the background. Called on the event loop the engines live on."""
        if self._opening is None or self._opening.done():
            self.models.loading = True  # at once, so that nobody takes "not begun yet" for "no model"
            self._opening = asyncio.create_task(self.models.open())

    async def seal(self, actor: str) -> None:
        """Unloads every model, also one that is just being loaded, and forgets the keys."""
        await self._unload()
        self.box.seal(actor)  # at once: whoever waited to change what runs finds the box sealed

    async def close(self) -> None:
        """Unloads every model and lets go of the home, once no use case works on it any more."""
        self.stopping = True
        await self._unload()
        await asyncio.to_thread(self.box.close)

    async def _unload(self) -> None:
        if self._opening:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        await self.models.close()

    def refused(self, error: LumenError, who: str) -> None:
        """Says in the log that ``who`` was turned away: a few times a minute, and how often in between."""
        now = self.clock.monotonic()
        self._refusals = [moment for moment in self._refusals if now - moment < REFUSALS_SECONDS]
        if len(self._refusals) >= MAX_REFUSALS:
            self._unsaid += 1
            return
        self._refusals.append(now)
        with contextlib.suppress(OSError, LumenError):  # turned away all the same
            self.box.audit.record(Event.ACCESS_REFUSED, who, "refused", code=error.code, unsaid=self._unsaid)
        self._unsaid = 0

    def state(self) -> State:
        """Whether a question asked now would be answered, and if not, why."""
        if self.stopping:
            return "stopping"
        if self.sealed:
            return "sealed"
        if self.models.ready:
            return "ready"
        return "loading" if self.models.busy_loading else "no_model"

    def progress(self) -> int:
        """How far what is being loaded is, in per cent."""
        return self.models.progress

    def samples(self) -> Iterable[Sample]:
        return self.models.samples()

    def check_weights(self, path: Path, key: bytes, manifest: Manifest) -> None:
        """Has a sandboxed worker parse and lay out a model that is not installed yet; ``Damaged`` if it is unsound
        or not what its manifest says. Runs outside any event loop."""
        stored = manifest.model
        weights = Weights(
            stored.id,
            stored.stored_size,
            lambda: open_regular(path),
            lambda: key,
        )
        facts = asyncio.run(check(weights, self.settings.engine, launch=self._start, role=manifest.role))
        for what, said, found in (
            ("architecture", manifest.architecture, facts.architecture),
            ("number of parameters", manifest.parameters, facts.parameters),
            ("context", manifest.context, facts.trained_context),
        ):
            if said != found:
                raise Damaged(
                    f"The {what} in the manifest of {manifest.name} is {said}, in the model itself it is {found}.",
                    kept="Nothing was installed.",
                    then="Ask the publisher for a corrected medium.",
                )

    def _sandboxed_worker(self) -> Process:
        """Looks for the engine library only when a worker is needed: administration does without it."""
        return launch.worker(library.find(os.environ), require=launch.required(self.settings.engine.sandbox))()
