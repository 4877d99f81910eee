"""``POST /v1/chat/completions``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from ..engine.protocol import Generate
from ..schemas.chat import ChatRequest, Message
from ..schemas.errors import InvalidParameter
from .answer import AnswerResponse
from .authorise import Action
from .body import JsonBody
from .deps import may, the_generations, the_model
from .formats import check_format, grammar_for
from .generation import Generation
from .generations import Job
from .ports import ActiveModel, Answering
from .principal import Principal
from .shapes import ChatShape
from .trimming import trimmed
from .wanted import check_choosing, sampling

router = APIRouter()


@router.post("/v1/chat/completions")
async def chat_completions(
    request: Request,
    principal: Annotated[Principal, Depends(may(Action.GENERATE))],
    asked: Annotated[ChatRequest, Depends(JsonBody(ChatRequest))],
) -> Response:
    """Answers a conversation, as OpenAI's API does. Refuses what it does not support."""
    check_choosing(asked, principal)
    _check(asked)
    model = await the_model(request, asked.model)
    generation = the_generations(request).begin(principal, model.card.id, _asking(model, asked))
    shape = ChatShape(generation, asked.candidates is not None, wants_usage=asked.wants_usage)
    return AnswerResponse(generation, shape, stream=bool(asked.stream))


def _check(asked: ChatRequest) -> None:
    check_format(asked)
    if asked.top_logprobs is not None and not asked.logprobs:
        raise InvalidParameter("`top_logprobs` needs `logprobs` to be true.", param="top_logprobs")
    if asked.max_tokens is not None and asked.max_completion_tokens is not None:
        raise InvalidParameter(
            "`max_tokens` and `max_completion_tokens` mean the same: give one of them.", param="max_completion_tokens"
        )


def _asking(model: ActiveModel, asked: ChatRequest) -> Job:
    async def ask(generation: Generation) -> Answering:
        grammar = await grammar_for(model, asked, generation.owner.id)
        messages = [_plain(message) for message in asked.messages]
        if asked.x_lumen_trim:
            fitted = await trimmed(model, messages, asked.token_limit)
            prompt, generation.trimmed = fitted.prompt, fitted.dropped
        else:
            prompt = await model.render(messages)
        return model.submit(
            Generate(
                prompt=prompt.text,
                breaks=prompt.breaks,
                sampling=sampling(asked),
                max_tokens=asked.token_limit,
                stop=asked.stops,
                logprobs=asked.candidates,
                grammar=grammar,
                isolated=bool(asked.x_lumen_isolated),
                priority=generation.priority,
                owner=generation.owner.id,
            )
        )

    return ask


def _plain(message: Message) -> dict[str, str]:
    """What a template is given. OpenAI's newer name for a system message is one that templates do not know."""
    role = "system" if message.role == "developer" else message.role
    plain = {"role": role, "content": message.text}
    if message.reasoning_content is not None:
        plain["reasoning_content"] = message.reasoning_content
    return plain
