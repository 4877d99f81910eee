"""Taking a model off the box: its key, its ciphertext, and last its manifest.

    intent → out of service → key destroyed → ciphertext removed → manifest removed → catalogue → outcome

The manifest goes last: a removal that was interrupted leaves a model that is listed and cannot be used, and removing
it again does what is left. An install that was begun and never finished is removed in the same way, by its name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass

from ..audit import Event
from ..catalogue import Installed, ModelName
from ..errors import Interrupted, NotFound, UsageError
from .appliance import Appliance
from .purposes import CONTENT, MANIFEST
from .staging import Unfinished, discard, unfinished
from .store import voucher


@dataclass(frozen=True)
class Removed:
    """What is gone. ``installed`` is False where only the beginning of an install was there."""

    name: str
    version: str
    installed: bool = True


async def remove(appliance: Appliance, wanted: ModelName, actor: str) -> Removed:
    """Removes an installed version, or what an unfinished install left; an active version must be replaced first.

    Called on the event loop the engines live on; the work itself waits for the disk in a thread of its own. Raises
    ``NotFound`` where there is neither, ``UsageError`` where the name means several, ``Interrupted`` where the box is
    sealed or stopped meanwhile.
    """
    loop = asyncio.get_running_loop()

    def out_of_service(installed: Installed) -> None:
        try:
            asyncio.run_coroutine_threadsafe(_out_of_service(appliance, installed), loop).result()
        except CancelledError:
            raise Interrupted(
                "The box was sealed or stopped before this was done.",
                kept="Nothing was removed, but the model may be out of service.",
                then="Try again.",
            ) from None

    return await asyncio.to_thread(_remove, appliance, wanted, actor, out_of_service)


def _remove(
    appliance: Appliance, wanted: ModelName, actor: str, out_of_service: Callable[[Installed], None]
) -> Removed:
    box = appliance.box
    with box.administration():
        aliases = appliance.publishers.aliases()
        try:
            installed = box.catalogue.one(wanted, aliases)
        except NotFound:
            begun = _begun(appliance, wanted, aliases)
            if begun is None:
                raise
            return _abandon(appliance, begun, actor)
        _refuse_active(appliance, installed)
        detail = {"publisher": installed.publisher, "model": installed.name, "version": installed.version}
        with box.audit.act(Event.MODEL_REMOVED, actor, **detail, object=installed.object):
            out_of_service(installed)
            _erase(appliance, installed, actor)
        return Removed(installed.name, installed.version)


def _erase(appliance: Appliance, installed: Installed, actor: str) -> None:
    vouched = (MANIFEST, voucher(*installed.key))
    if installed.object not in {other.object for other in appliance.box.catalogue.installed() if other != installed}:
        _destroy(appliance, installed.object, actor, vouched)
    else:
        _forget(appliance, actor, vouched)
    appliance.store.remove_manifest(installed)
    appliance.box.catalogue.remove(installed)


def _refuse_active(appliance: Appliance, installed: Installed) -> None:
    catalogue = appliance.box.catalogue
    active = catalogue.active_version(installed.publisher, installed.name)
    versions = [e for e in catalogue.installed() if (e.publisher, e.name) == (installed.publisher, installed.name)]
    if active and active.version == installed.version and len(versions) > 1:
        raise UsageError(
            f"{installed.name}@{installed.version} is active.",
            kept="Nothing was removed.",
            then="Activate another version first.",
        )


async def _out_of_service(appliance: Appliance, installed: Installed) -> None:
    active = appliance.box.catalogue.active_version(installed.publisher, installed.name)
    if active and active.version == installed.version:
        async with appliance.models.changing():
            appliance.box.catalogue.deactivate(installed.publisher, installed.name)
            running = appliance.models.take(installed.publisher, installed.name)
            if running:
                await running.stop()


def _begun(appliance: Appliance, wanted: ModelName, aliases: dict[str, str]) -> Unfinished | None:
    """The one unfinished install that ``wanted`` means, or None."""
    publisher = aliases.get(wanted.publisher, wanted.publisher) if wanted.publisher else None
    found = [
        begun
        for begun in unfinished(appliance.box.home)
        if begun.claim.name == wanted.name
        and publisher in (None, begun.claim.publisher)
        and wanted.version in (None, begun.claim.version)
    ]
    if len(found) > 1:
        raise UsageError(
            f"Several installs of {wanted} were begun: {', '.join(begun.claim.version for begun in found)}.",
            kept="Nothing was removed.",
            then=f"Write {wanted.name}@VERSION.",
        )
    return found[0] if found else None


def _abandon(appliance: Appliance, begun: Unfinished, actor: str) -> Removed:
    box, claim = appliance.box, begun.claim
    detail = {"publisher": claim.publisher, "model": claim.name, "version": claim.version, "object": begun.object}
    with box.audit.act(Event.MODEL_REMOVED, actor, **detail, unfinished=True):
        if begun.object in {entry.object for entry in box.catalogue.installed()}:
            discard(box.home, box.disk, begun.object)  # another version has the same weights, and keeps them
        else:
            _destroy(appliance, begun.object, actor, (MANIFEST, voucher(claim.publisher, claim.name, claim.version)))
    return Removed(claim.name, claim.version, installed=False)


def _destroy(appliance: Appliance, object_id: str, actor: str, vouched: tuple[str, str]) -> None:
    """The key first: without it the ciphertext is gone for good, whatever the disk still holds."""
    box = appliance.box
    _forget(appliance, actor, (CONTENT, object_id), vouched)
    appliance.store.remove_object(object_id)
    discard(box.home, box.disk, object_id)


def _forget(appliance: Appliance, actor: str, *secrets: tuple[str, str]) -> None:
    """Destroys what the vault holds by purpose and id, as far as it is still there."""
    there = [secret for secret in secrets if appliance.box.vault.get_or_none(*secret) is not None]
    if there:
        with appliance.box.keyring_change(actor) as change:
            for purpose, id in there:
                change.delete(purpose, id)
