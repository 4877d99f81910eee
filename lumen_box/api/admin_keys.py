"""The keys of the box: listed, and made anew; and the slots that open it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from ..schemas.admin import RotateRequest, SlotRequest
from ..schemas.errors import InvalidParameter
from ..usecases import keys, keyslots
from ..vault.slots import Recovery, Unlock
from .admin_box import the_appliance, unlock_of
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


@router.get("/slots")
async def slots(request: Request, principal: Reader) -> Response:
    """Also of a sealed box; ``vouched`` says whether the vault was open to vouch for the list."""
    box = the_appliance(request).box
    vouched = not box.sealed
    found = await asyncio.to_thread(keyslots.listing, box)
    return Json({"slots": [asdict(slot) for slot in found], "vouched": vouched})


@router.post("/slots")
async def add_slot(
    request: Request, principal: Manager, asked: Annotated[SlotRequest, Depends(JsonBody(SlotRequest))]
) -> Response:
    """The new slot; a recovery key's code is in this answer and nowhere else."""
    box = the_appliance(request).box
    added = await asyncio.to_thread(keyslots.add, box, asked.label, _secret(asked), principal.id)
    code = {"recovery_key": added.recovery_code} if added.recovery_code else {}
    return Json({**asdict(added.slot), **code})


@router.post("/slots/{identity}/remove")
async def remove_slot(identity: str, request: Request, principal: Manager) -> Response:
    removed = await asyncio.to_thread(keyslots.remove, the_appliance(request).box, identity, principal.id)
    return Json(asdict(removed))


def _secret(asked: SlotRequest) -> Unlock | None:
    """What opens the new slot; None for a recovery key."""
    if (asked.secret is None) != (asked.kind == Recovery.kind):
        raise InvalidParameter("The parameter `secret` is for every kind but `recovery`.", param="secret")
    return unlock_of(asked.kind, asked.secret) if asked.secret is not None else None
