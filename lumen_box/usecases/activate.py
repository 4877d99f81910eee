"""Activating models and rolling them back. A model answers only after it has answered once.

The order: refuse what was revoked → load the new version and have it say something → move the pointer → let the old
one finish what it is saying. Where both do not fit into memory the old one goes first, and comes back if the new one
fails. Whatever goes wrong before the pointer moves leaves what was active active.
"""

from __future__ import annotations

from collections.abc import Callable

from ..audit import Event
from ..catalogue import Active, Installed, ModelName
from ..errors import NotFound, UsageError
from ..progress import Report
from .appliance import Appliance
from .switching import Switch


async def activate(
    appliance: Appliance, wanted: ModelName, actor: str, report: Report, *, default: bool = False
) -> Active:
    """Makes an installed version the one that answers under its name, and with ``default`` for its role."""
    box = appliance.box
    with box.administration():
        installed = box.catalogue.one(wanted, appliance.publishers.aliases())
        with box.audit.act(Event.MODEL_ACTIVATED, actor, **_named(installed)):
            await _switch(appliance, installed, report, lambda: box.catalogue.activate(installed, make_default=default))
        return _active(appliance, installed)


async def roll_back(appliance: Appliance, wanted: ModelName, actor: str, report: Report) -> Active:
    """Activates the version that was active before the present one, which alone it can go back to."""
    if wanted.version is not None:
        raise UsageError(
            f"Going back takes a name without a version: {wanted.name} goes back to what was active before.",
            kept="Nothing was changed.",
            then=f"`lumen-box model activate {wanted}` activates this very version.",
        )
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
            await _switch(appliance, installed, report, lambda: box.catalogue.activate(installed, make_default=False))
        return _active(appliance, installed)


async def _switch(appliance: Appliance, installed: Installed, report: Report, commit: Callable[[], None]) -> None:
    room = appliance.models
    async with room.changing():
        room.refuse_revoked(installed, appliance.store.manifest(installed))
        await Switch(room, installed, report, commit).make()


def _active(appliance: Appliance, installed: Installed) -> Active:
    active = appliance.box.catalogue.active_version(installed.publisher, installed.name)
    if active is None:
        raise NotFound(f"{installed.name} is not active.")
    return active


def _named(installed: Installed) -> dict[str, str | int | bool]:
    return {"publisher": installed.publisher, "model": installed.name, "version": installed.version}
