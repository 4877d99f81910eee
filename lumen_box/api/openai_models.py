"""``GET /v1/models``: the active models, in OpenAI's form."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from .authorise import Action
from .deps import may, the_card, unsealed
from .responses import Json

router = APIRouter(dependencies=[Depends(may(Action.LIST_MODELS))])


@router.get("/v1/models")
async def models(request: Request) -> Response:
    cards = unsealed(request).models.listing()
    return Json({"object": "list", "data": [card.to_json() for card in cards]})


@router.get("/v1/models/{name:path}")
async def model(request: Request, name: str) -> Response:
    return Json((await the_card(request, name)).to_json())
