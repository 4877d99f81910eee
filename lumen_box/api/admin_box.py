"""The box itself: its status, its seal, its end."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Annotated, cast

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from ..schemas.admin import UnlockRequest
from ..schemas.errors import InvalidParameter
from ..usecases.appliance import Appliance
from ..usecases.doctor import examine
from ..usecases.status import status
from ..vault.slots import KeyFile, Passphrase, Recovery, Unlock
from .authorise import Action
from .body import JsonBody
from .deps import may
from .principal import Principal
from .responses import Json

router = APIRouter(prefix="/api")


def the_appliance(request: Request) -> Appliance:
    return cast(Appliance, request.app.state.box)


@router.get("/status")
async def get_status(request: Request, principal: Annotated[Principal, Depends(may(Action.READ_STATUS))]) -> Response:
    return Json(status(the_appliance(request), getattr(request.app.state, "url", None)))


@router.get("/doctor")
async def get_doctor(request: Request, principal: Annotated[Principal, Depends(may(Action.DIAGNOSE))]) -> Response:
    serving = getattr(request.app.state, "serving", False)
    findings = await asyncio.to_thread(examine, the_appliance(request), serving=serving)
    return Json({"findings": [finding.to_json() for finding in findings]})


@router.post("/unlock")
async def unlock(
    request: Request,
    principal: Annotated[Principal, Depends(may(Action.UNSEAL))],
    asked: Annotated[UnlockRequest, Depends(JsonBody(UnlockRequest))],
) -> Response:
    """Opens the vault, then loads what is active; answers once the vault is open."""
    appliance = the_appliance(request)
    key = unlock_of(asked.kind, asked.secret)
    await asyncio.to_thread(appliance.unlock, key, principal.id)
    if getattr(request.app.state, "serving", False):
        appliance.open_models()
    return Json({"sealed": appliance.sealed})


@router.post("/lock")
async def lock(request: Request, principal: Annotated[Principal, Depends(may(Action.SEAL))]) -> Response:
    """Unloads every model and forgets the keys."""
    appliance = the_appliance(request)
    await appliance.seal(principal.id)
    return Json({"sealed": appliance.sealed})


@router.post("/stop")
async def stop(request: Request, principal: Annotated[Principal, Depends(may(Action.STOP))]) -> Response:
    """Begins a staged shutdown of the gateway."""
    request.app.state.stop()
    return Json({"stopping": True})


def unlock_of(kind: str, encoded: str) -> Unlock:
    """What a request brings to open a slot; ``InvalidParameter`` where ``encoded`` is not base64."""
    try:
        secret = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidParameter("The parameter `secret` is not base64.", param="secret") from None
    match kind:
        case Passphrase.kind:
            return Passphrase(secret)
        case KeyFile.kind:
            return KeyFile(secret)
        case _:
            return Recovery(secret.decode("ascii", "replace"))
