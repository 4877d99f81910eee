"""``POST /v1/embeddings``: texts become vectors of length 1, in the order in which they were given."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from ..engine.protocol import Embed, Finished, Tokens
from ..schemas.embeddings import EmbeddingRequest
from ..schemas.errors import InvalidParameter
from .answer import WholeResponse
from .authorise import Action
from .body import JsonBody
from .deps import may, the_embedder, the_generations
from .generation import Generation
from .ports import Answering, EmbeddingModel
from .principal import Principal

router = APIRouter()


@router.post("/v1/embeddings")
async def embeddings(
    request: Request,
    principal: Annotated[Principal, Depends(may(Action.EMBED))],
    asked: Annotated[EmbeddingRequest, Depends(JsonBody(EmbeddingRequest))],
) -> Response:
    """Embeds texts, as OpenAI's API does. Refuses what it does not support."""
    inputs = asked.inputs
    if inputs is None:
        raise InvalidParameter("`input` must hold texts or token ids, not both.", param="input")
    model = await the_embedder(request, asked.model)
    _check_width(asked, model)

    async def ask(generation: Generation) -> Answering:
        return model.embed(Embed(inputs, generation.priority, generation.owner.id))

    generation = the_generations(request).begin(principal, model.card.id, ask)
    return WholeResponse(generation, EmbeddingShape(generation, asked.encoding_format == "base64"))


def _check_width(asked: EmbeddingRequest, model: EmbeddingModel) -> None:
    if asked.dimensions not in (None, model.width):
        raise InvalidParameter(
            f"`dimensions` can only be {model.width}: the vectors of {model.card.id} are not cut.", param="dimensions"
        )


class EmbeddingShape:
    """``list`` of ``embedding``: numbers, or 32-bit little-endian floats in base64."""

    def __init__(self, generation: Generation, packed: bool) -> None:
        self._generation, self._packed = generation, packed

    def whole(self, log: Sequence[Tokens], finished: Finished) -> dict[str, Any]:
        tokens = finished.usage.prompt_tokens
        vectors = sorted(self._generation.vectors, key=lambda one: one.index)
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": one.index, "embedding": self._said(one.vector)} for one in vectors
            ],
            "model": self._generation.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    def _said(self, vector: bytes) -> str | list[float]:
        return base64.b64encode(vector).decode() if self._packed else array("f", vector).tolist()
