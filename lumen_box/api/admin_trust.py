"""Whom the box trusts, and how it makes itself known to them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from ..clock import stamp
from ..schemas.admin import PinRequest
from ..sealed.fingerprint import Fingerprint
from ..usecases import enrolment
from ..usecases.publishers import Publisher, Publishers
from .admin_box import the_appliance
from .authorise import Action
from .body import JsonBody
from .deps import may
from .principal import Principal
from .responses import Json

router = APIRouter(prefix="/api")


@router.get("/trust")
async def show(request: Request, principal: Annotated[Principal, Depends(may(Action.READ_TRUST))]) -> Response:
    publishers = the_appliance(request).publishers
    return Json({"publishers": [_described(publishers, publisher) for publisher in publishers.all()]})


@router.post("/trust/pin")
async def pin(
    request: Request,
    principal: Annotated[Principal, Depends(may(Action.MANAGE_TRUST))],
    asked: Annotated[PinRequest, Depends(JsonBody(PinRequest))],
) -> Response:
    publishers = the_appliance(request).publishers
    root, fingerprint = asked.root.encode(), Fingerprint.parse(asked.fingerprint)
    publisher = await asyncio.to_thread(publishers.pin, root, fingerprint, principal.id)
    return Json(_described(publishers, publisher))


@router.post("/enrolment")
async def export(request: Request, principal: Annotated[Principal, Depends(may(Action.EXPORT_ENROLMENT))]) -> Response:
    exported = await asyncio.to_thread(enrolment.export, the_appliance(request).box, principal.id)
    return Json(
        {
            "enrolment": exported.data.decode("ascii"),
            "fingerprint": exported.fingerprint.hex,
            "words": exported.fingerprint.words,
            "sequence": exported.sequence,
        }
    )


def _described(publishers: Publishers, publisher: Publisher) -> dict[str, Any]:
    floors = publishers.floors(publisher)
    return {
        "id": publisher.id,
        "name": publisher.name,
        "alias": publisher.alias,
        "fingerprint": publisher.fingerprint.hex,
        "words": publisher.fingerprint.words,
        "seen": {role: floor.version for role, floor in floors.roles.items()},
        "signed_at": stamp(floors.signed_at) if floors.signed_at else None,
    }
