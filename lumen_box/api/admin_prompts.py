"""Published prompts: what every user's conversation may begin with, shared between all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from ..schemas.admin import PromptRequest, PublishRequest
from ..usecases import prompts
from ..usecases.prompts import Prompt
from ..usecases.running import ChatModel
from .admin_box import the_appliance
from .authorise import Action
from .body import JsonBody
from .deps import may
from .principal import Principal
from .responses import Json

router = APIRouter(prefix="/api/prompts")
Reader = Annotated[Principal, Depends(may(Action.READ_PROMPTS))]
Manager = Annotated[Principal, Depends(may(Action.MANAGE_PROMPTS))]
Named = Annotated[PromptRequest, Depends(JsonBody(PromptRequest))]


@router.get("")
async def listing(request: Request, principal: Reader) -> Response:
    appliance = the_appliance(request)
    found, running = await asyncio.to_thread(prompts.listing, appliance.box), appliance.models.answering()
    return Json({"prompts": [_told(prompt, running) for prompt in found]})


@router.post("/show")
async def show(request: Request, principal: Reader, asked: Named) -> Response:
    appliance = the_appliance(request)
    prompt = await asyncio.to_thread(prompts.get, appliance.box, asked.name)
    return Json({**_told(prompt, appliance.models.answering()), "text": prompt.text})


@router.post("")
async def publish(
    request: Request, principal: Manager, asked: Annotated[PublishRequest, Depends(JsonBody(PublishRequest))]
) -> Response:
    """Publishes a prompt, or replaces the one of that name. Answers once every model that runs shares it."""
    appliance = the_appliance(request)
    prompt = await asyncio.to_thread(prompts.publish, appliance.box, asked.name, asked.kind, asked.text, principal.id)
    return Json(_told(prompt, await appliance.models.share()))


@router.post("/remove")
async def remove(request: Request, principal: Manager, asked: Named) -> Response:
    """Withdraws a prompt; what the engines kept of it is wiped."""
    appliance = the_appliance(request)
    prompt = await asyncio.to_thread(prompts.withdraw, appliance.box, asked.name, principal.id)
    await appliance.models.share()
    return Json(_told(prompt, ()))


def _told(prompt: Prompt, running: Sequence[ChatModel]) -> dict[str, Any]:
    """A prompt as it is listed, without its text, and which models share it or do not."""
    sharing = [(one.card.id, one.sharing) for one in running]
    return {
        "name": prompt.name,
        "kind": prompt.kind,
        "characters": len(prompt.text),
        "sha256": prompt.sha256,
        "published_at": prompt.published_at,
        "shared_by": [model for model, one in sharing if prompt.name in one.shared],
        "not_shared_by": {model: one.problems[prompt.name] for model, one in sharing if prompt.name in one.problems},
    }
