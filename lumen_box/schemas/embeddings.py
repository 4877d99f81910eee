"""``POST /v1/embeddings``: one vector for each text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from .completions import Id, Ids
from .limits import MAX_NAME, MAX_PROMPT_TOKENS, Length, Range
from .sampling import STRICT

Text = Annotated[str, Length(1)]


@dataclass(frozen=True, kw_only=True)
class EmbeddingRequest:
    """``input`` is a text, an array of texts, the ids of a text's tokens, or an array of such: :attr:`inputs`.

    ``dimensions`` can only be what the model gives: no vector is cut.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    input: Text | Annotated[tuple[Id | Text | Ids, ...], Length(1, MAX_PROMPT_TOKENS)]
    model: Annotated[str, Length(1, MAX_NAME)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Range(1, 2**31 - 1)] | None = None
    user: Annotated[str, Length(0, MAX_NAME)] | None = None

    @property
    def inputs(self) -> tuple[str | tuple[int, ...], ...] | None:
        """One entry for each vector; None where single tokens and texts are mixed."""
        if isinstance(self.input, str):
            return (self.input,)
        ids = tuple(one for one in self.input if isinstance(one, int))
        if len(ids) == len(self.input):
            return (ids,)
        return None if ids else tuple(one for one in self.input if not isinstance(one, int))
