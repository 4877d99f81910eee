"""``POST /v1/completions``: no template, no roles; the prompt is continued as it stands."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from ..engine.protocol import Generate
from ..schemas.completions import CompletionRequest
from ..schemas.errors import InvalidParameter
from .answer import AnswerResponse
from .authorise import Action
from .body import JsonBody
from .deps import may, the_generations, the_model
from .formats import grammar_for
from .generation import Generation
from .ports import Answering
from .principal import Principal
from .shapes import CompletionShape
from .wanted import check_choosing, sampling

router = APIRouter()


@router.post("/v1/completions")
async def completions(
    request: Request,
    principal: Annotated[Principal, Depends(may(Action.GENERATE))],
    asked: Annotated[CompletionRequest, Depends(JsonBody(CompletionRequest))],
) -> Response:
    """Continues a prompt. Where no ``max_tokens`` is given, 16 tokens are generated, as by OpenAI's API."""
    check_choosing(asked, principal)
    wanted = _request(asked)
    model = await the_model(request, asked.model)

    async def ask(generation: Generation) -> Answering:
        owner = generation.owner.id
        grammar = await grammar_for(model, asked, owner)
        return model.submit(dataclasses.replace(wanted, grammar=grammar, priority=generation.priority, owner=owner))

    generation = the_generations(request).begin(principal, model.card.id, ask)
    shape = CompletionShape(generation, asked.candidates is not None, wants_usage=asked.wants_usage)
    return AnswerResponse(generation, shape, stream=bool(asked.stream))


def _request(asked: CompletionRequest) -> Generate:
    prompt = asked.one_prompt
    if prompt is None:
        raise InvalidParameter("`prompt` must be one prompt: several in one request are not taken.", param="prompt")
    return Generate(
        prompt=prompt,
        sampling=sampling(asked),
        max_tokens=asked.token_limit,
        stop=asked.stops,
        logprobs=asked.candidates,
        isolated=bool(asked.x_lumen_isolated),
        split_reasoning=False,  # what is continued has no roles, so nothing in it is apart
    )
