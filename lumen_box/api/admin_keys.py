"""The keys of the box: listed, and made anew."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from ..schemas.admin import RotateRequest
from ..usecases import keys
from .admin_box import the_appliance
from .authorise import Action
from .body import JsonBody
from .deps import may
from .principal import Principal
from .responses import Json

router = APIRouter(prefix="/api/keys")
Reader = Annotated[Principal, Depends(may(Action.READ_KEYS))]
Manager = Annotated[Principal, Depends(may(Action.MANAGE_KEYS))]


@router.get("")
async def listing(request: Request, principal: Reader) -> Response:
    found = await asyncio.to_thread(keys.listing, the_appliance(request).box)
    return Json({"keys": [key.to_json() for key in found]})


@router.post("/rotate")
async def rotate(
    request: Request, principal: Manager, asked: Annotated[RotateRequest, Depends(JsonBody(RotateRequest))]
) -> Response:
    rotated = await asyncio.to_thread(keys.rotate_kek, the_appliance(request).box, principal.id)
    return Json({"kind": asked.kind, **asdict(rotated)})
