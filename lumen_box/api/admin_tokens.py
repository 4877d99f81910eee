"""API tokens: made, listed, revoked. A revoked token's streams end at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from ..accounts.tokens import Token
from ..audit import Event
from ..schemas.admin import TokenRequest
from .admin_box import the_appliance
from .authorise import Action
from .body import JsonBody
from .deps import may, the_generations
from .principal import Principal
from .responses import Json

router = APIRouter(prefix="/api/tokens")
Manager = Annotated[Principal, Depends(may(Action.MANAGE_TOKENS))]


@router.get("")
async def listing(request: Request, principal: Manager) -> Response:
    return Json({"tokens": [_told(token) for token in the_appliance(request).tokens.listing()]})


@router.post("")
async def create(
    request: Request, principal: Manager, asked: Annotated[TokenRequest, Depends(JsonBody(TokenRequest))]
) -> Response:
    """The new token; its text is in this answer and nowhere else."""
    box = the_appliance(request).box
    with box.audit.act(Event.TOKEN_CREATED, principal.id, name=asked.name, scopes=" ".join(asked.scopes)) as learned:
        token, text = box.tokens.create(asked.name, asked.scopes, principal.id, timedelta(days=asked.days))
        learned["token"] = token.id
    return Json({**_told(token), "token": text})


@router.post("/{identity}/revoke")
async def revoke(identity: str, request: Request, principal: Manager) -> Response:
    box = the_appliance(request).box
    with box.audit.act(Event.TOKEN_REVOKED, principal.id, token=identity[:64]):
        token = box.tokens.revoke(identity)
    ended = the_generations(request).end_of(token.id)
    return Json({**_told(token), "ended": ended})


def _told(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "scopes": sorted(token.scopes),
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used": token.last_used,
        "revoked": token.revoked,
    }
