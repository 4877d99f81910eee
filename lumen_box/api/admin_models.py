"""Models: from a medium onto the box, into service, and off it again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from ..bundle.medium import Medium
from ..catalogue import Active, ModelName
from ..errors import Interrupted
from ..progress import Note, Report
from ..schemas.admin import ActivateRequest, InstallRequest, MediumRequest, ModelRequest
from ..usecases import activate, describe, install, media, removal
from .admin_box import the_appliance
from .authorise import Action
from .body import JsonBody
from .deps import may, the_handover
from .events import Progress
from .principal import Principal
from .responses import Json

router = APIRouter(prefix="/api/models")
Manager = Annotated[Principal, Depends(may(Action.MANAGE_MODELS))]
T = TypeVar("T")


@router.get("")
async def listing(request: Request, principal: Annotated[Principal, Depends(may(Action.READ_STATUS))]) -> Response:
    appliance = the_appliance(request)
    return Json({"models": await asyncio.to_thread(describe.listing, appliance)})


@router.post("/show")
async def show(
    request: Request,
    principal: Annotated[Principal, Depends(may(Action.READ_STATUS))],
    asked: Annotated[ModelRequest, Depends(JsonBody(ModelRequest))],
) -> Response:
    return Json(describe.show(the_appliance(request), ModelName.parse(asked.model)).to_json())


@router.post("/offered")
async def offered(
    request: Request, principal: Manager, asked: Annotated[MediumRequest, Depends(JsonBody(MediumRequest))]
) -> Response:
    """What a medium offers; its newer metadata and revocations are taken over."""
    appliance = the_appliance(request)

    def look(medium: Medium, report: Report) -> Any:
        found = media.take_over(appliance, medium, principal.id, allow_expired=asked.allow_expired)
        return {"models": describe.offered(appliance, found)}

    return _with_medium(request, principal, asked.medium, look)


@router.post("/install")
async def install_model(
    request: Request, principal: Manager, asked: Annotated[InstallRequest, Depends(JsonBody(InstallRequest))]
) -> Response:
    """Installs one model; streams its progress. Stopped in the middle, it goes on when asked again."""
    appliance = the_appliance(request)
    wanted = ModelName.parse(asked.model) if asked.model else None

    def bring(medium: Medium, report: Report) -> Any:
        if asked.check:
            offer = install.check(appliance, medium, wanted, principal.id, report, allow_expired=asked.allow_expired)
            return {"publisher": offer.publisher.alias, "name": offer.name, "version": offer.version, "checked": True}
        result = install.install(appliance, medium, wanted, principal.id, report, allow_expired=asked.allow_expired)
        return {
            "publisher": result.publisher,
            "name": result.installed.name,
            "version": result.installed.version,
            "fresh": result.fresh,
        }

    return _with_medium(request, principal, asked.medium, bring)


@router.post("/activate")
async def activate_model(
    request: Request, principal: Manager, asked: Annotated[ActivateRequest, Depends(JsonBody(ActivateRequest))]
) -> Response:
    appliance, wanted = the_appliance(request), ModelName.parse(asked.model)
    return _on_loop(
        lambda report: activate.activate(appliance, wanted, principal.id, report, default=asked.default), _active
    )


@router.post("/rollback")
async def roll_back(
    request: Request, principal: Manager, asked: Annotated[ModelRequest, Depends(JsonBody(ModelRequest))]
) -> Response:
    appliance, wanted = the_appliance(request), ModelName.parse(asked.model)
    return _on_loop(lambda report: activate.roll_back(appliance, wanted, principal.id, report), _active)


@router.post("/verify")
async def verify(
    request: Request, principal: Manager, asked: Annotated[ModelRequest, Depends(JsonBody(ModelRequest))]
) -> Response:
    appliance, wanted = the_appliance(request), ModelName.parse(asked.model)

    def read(report: Report) -> Any:
        installed = describe.verify(appliance, wanted, principal.id, report)
        return {"name": installed.name, "version": installed.version}

    return Progress(read)


@router.post("/remove")
async def remove(
    request: Request, principal: Manager, asked: Annotated[ModelRequest, Depends(JsonBody(ModelRequest))]
) -> Response:
    removed = await removal.remove(the_appliance(request), ModelName.parse(asked.model), principal.id)
    return Json({"name": removed.name, "version": removed.version, "installed": removed.installed})


def _active(active: Active) -> Any:
    return {"name": active.name, "version": active.version, "previous": active.previous}


def _with_medium(
    request: Request, principal: Principal, ticket: str, work: Callable[[Medium, Report], Any]
) -> Response:
    """Streams ``work`` on the medium whose folder was handed over for ``ticket``. What the medium revokes, stops."""
    fd = the_handover(request).claim(ticket, principal)
    try:
        medium = Medium.open(fd)
    finally:
        os.close(fd)

    room, loop = the_appliance(request).models, asyncio.get_running_loop()

    def run(report: Report) -> Any:
        try:
            with medium:
                return work(medium, report)
        finally:  # what a medium revokes stops, also where something else on it was refused
            for name in asyncio.run_coroutine_threadsafe(room.enforce_revocations(), loop).result():
                report(Note(f"{name} was revoked by its publisher and has been stopped."))

    return Progress(run)


def _on_loop(work: Callable[[Report], Coroutine[Any, Any, T]], told: Callable[[T], Any]) -> Response:
    """Streams work that needs the event loop, on which the engines live."""
    loop = asyncio.get_running_loop()

    def run(report: Report) -> Any:
        try:
            return told(asyncio.run_coroutine_threadsafe(work(report), loop).result())
        except CancelledError:
            raise Interrupted(
                "The box was sealed or stopped before this was done.", kept="What was active is active."
            ) from None

    return Progress(run)
