"""``response_format``: what an answer is to look like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from .limits import MAX_NAME, Length
from .sampling import STRICT


@dataclass(frozen=True)
class NamedSchema:
    """``schema`` is a JSON schema, kept as it was sent. It is always kept to, so ``strict`` changes nothing."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: Annotated[str, Length(1, MAX_NAME)]
    schema: dict[str, Any]
    strict: bool | None = None
    description: str | None = None


@dataclass(frozen=True)
class ResponseFormat:
    """``json_schema`` belongs to the type of that name, and to no other."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None
