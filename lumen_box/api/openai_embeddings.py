"""``POST /v1/embeddings``: texts become vectors of length 1, in the order in which they were given."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from ..engine.protocol import MAX_INPUTS, Embed, Embedded, Finished, Tokens
from ..schemas.embeddings import EmbeddingRequest
from ..schemas.errors import InvalidParameter
from .answer import WholeResponse
from .authorise import Action
from .body import JsonBody
from .deps import may, the_embedder, the_generations
from .generation import Generation
from .ports import Answering, EmbeddingModel
from .principal import Principal
from .responses import dumps

FLOAT: Final = struct.Struct("<f")

router = APIRouter()


@router.post("/v1/embeddings")
async def embeddings(
    request: Request,
    principal: Annotated[Principal, Depends(may(Action.EMBED))],
    asked: Annotated[EmbeddingRequest, Depends(JsonBody(EmbeddingRequest))],
) -> Response:
    """Embeds texts, as OpenAI's API does. Refuses what it does not support."""
    inputs = _inputs(asked)
    model = await the_embedder(request, asked.model)
    _check_width(asked, model)

    async def ask(generation: Generation) -> Answering:
        return model.embed(Embed(inputs, generation.priority, generation.owner.id))

    generation = the_generations(request).begin(principal, model.card.id, ask)
    return WholeResponse(generation, EmbeddingShape(generation, asked.encoding_format == "base64"))


def _inputs(asked: EmbeddingRequest) -> tuple[str | tuple[int, ...], ...]:
    inputs = asked.inputs
    if inputs is None:
        raise InvalidParameter("`input` must hold texts or token ids, not both.", param="input")
    if len(inputs) > MAX_INPUTS:
        raise InvalidParameter(
            f"`input` holds {len(inputs)} texts; {MAX_INPUTS} can be embedded at once.",
            then="Send fewer in one request.",
            param="input",
        )
    return inputs


def _check_width(asked: EmbeddingRequest, model: EmbeddingModel) -> None:
    if asked.dimensions not in (None, model.width):
        raise InvalidParameter(
            f"`dimensions` can only be {model.width}: the vectors of {model.card.id} are not cut.", param="dimensions"
        )


class EmbeddingShape:
    """``list`` of ``embedding``: numbers, or 32-bit little-endian floats in base64.

    Written vector by vector: there may be millions of numbers, and encoding them in one go would hold up everybody.
    """

    def __init__(self, generation: Generation, packed: bool) -> None:
        self._generation, self._said = generation, _packed if packed else _numbers

    def whole(self, log: Sequence[Tokens], finished: Finished) -> bytes:
        tokens = finished.usage.prompt_tokens
        tail = {"model": self._generation.model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
        data = b",".join(map(self._entry, sorted(self._generation.vectors, key=lambda one: one.index)))
        return b'{"object":"list","data":[' + data + b"]," + dumps(tail)[1:]

    def _entry(self, one: Embedded) -> bytes:
        return b'{"object":"embedding","index":%d,"embedding":%b}' % (one.index, self._said(one.vector))


def _packed(vector: bytes) -> bytes:
    return b'"' + base64.b64encode(vector) + b'"'


def _numbers(vector: bytes) -> bytes:
    """Nine digits each: as many as tell any two floats of 32 bits apart."""
    return b"[" + ",".join([f"{number:.9g}" for (number,) in FLOAT.iter_unpack(vector)]).encode() + b"]"
