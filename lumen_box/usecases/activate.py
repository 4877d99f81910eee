"""Activating models and rolling them back. A model answers only after it has answered once.

The order: refuse what was revoked → load the new version and have it say something → move the pointer → let the old
one finish what it is saying. Where both do not fit into memory the old one goes first, and comes back if the new one
fails. Whatever goes wrong before the pointer moves leaves what was active active.
"""

from __future__ import annotations

from pathlib import Path

from ..audit import Event
from ..catalogue import Active, Installed, ModelName
from ..errors import LumenError, NotFound
from ..progress import Note, Report, Step
from .appliance import Appliance
from .engines import Running

HEADROOM = 1.1  # a loaded model takes about its size, and its context some more


async def activate(
    appliance: Appliance, wanted: ModelName, actor: str, report: Report, *, default: bool = False
) -> Active:
    """Makes an installed version the one that answers under its name, and with ``default`` for its role."""
    box = appliance.box
    with box.administration():
        installed = box.catalogue.one(wanted, appliance.publishers.aliases())
        with box.audit.act(Event.MODEL_ACTIVATED, actor, **_named(installed)):
            await _switch(appliance, installed, report)
            box.catalogue.activate(installed, make_default=default)
        return _active(appliance, installed)


async def roll_back(appliance: Appliance, wanted: ModelName, actor: str, report: Report) -> Active:
    """Activates the version that was active before the present one."""
    box, aliases = appliance.box, appliance.publishers.aliases()
    with box.administration():
        present = box.catalogue.require_active(ModelName(wanted.name, wanted.publisher), "chat", aliases)
        before = _active(appliance, present).previous
        if before is None:
            raise NotFound(
                f"There is no version of {wanted} to go back to.",
                kept=f"{present.version} stays active.",
                then="`lumen-box model activate NAME@VERSION` activates any installed version.",
            )
        try:
            installed = box.catalogue.one(ModelName(present.name, present.publisher, before), aliases)
        except NotFound:
            raise NotFound(
                f"{present.name}@{before}, which was active before, is no longer installed.",
                kept=f"{present.version} stays active.",
                then="`lumen-box model activate NAME@VERSION` activates any installed version.",
            ) from None
        with box.audit.act(Event.MODEL_ROLLED_BACK, actor, **_named(installed), previously=present.version):
            await _switch(appliance, installed, report)
            box.catalogue.activate(installed, make_default=False)
        return _active(appliance, installed)


async def _switch(appliance: Appliance, installed: Installed, report: Report) -> None:
    """Has ``installed`` answer in place of what does now, or leaves everything as it was and raises."""
    room = appliance.models
    manifest = appliance.store.manifest(installed)
    room.refuse_revoked(installed, manifest)
    before = room.running(installed.publisher, installed.name)
    cramped = before is not None and manifest.model.size * HEADROOM > _available_memory()
    if before and cramped:
        report(Note("Both versions do not fit into memory: the old one is unloaded first. Answers under way end."))
        await before.stop()
    report(Step(f"Loading {installed.name} {installed.version}"))
    try:
        running = await _started(appliance, installed)
    except LumenError:
        if before and cramped:
            report(Step(f"Loading {before.installed.version} again"))
            room.put(await room.start(before.installed))
        raise
    replaced = room.put(running)
    if replaced and not cramped:
        room.retire(replaced)


async def _started(appliance: Appliance, installed: Installed) -> Running:
    running = await appliance.models.start(installed)
    try:
        await running.check_health()
    except BaseException:
        await running.stop()
        raise
    return running


def _available_memory() -> int:
    """Bytes that the kernel says new programs may take."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _active(appliance: Appliance, installed: Installed) -> Active:
    active = appliance.box.catalogue.active_version(installed.publisher, installed.name)
    if active is None:
        raise NotFound(f"{installed.name} is not active.")
    return active


def _named(installed: Installed) -> dict[str, str | int | bool]:
    return {"publisher": installed.publisher, "model": installed.name, "version": installed.version}
