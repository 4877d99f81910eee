"""``POST /v1/chat/completions``: the request, as OpenAI's API has it, less what this box does not do.

Tools, images and audio are unknown members here and refused as such.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from .formats import ResponseFormat
from .limits import MAX_MESSAGES, MAX_PARTS, MAX_TOP_LOGPROBS, Length, Range
from .sampling import STRICT, Choosing, TokenLimit

Role = Literal["system", "developer", "user", "assistant"]


@dataclass(frozen=True)
class TextPart:
    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    type: Literal["text"]
    text: str


@dataclass(frozen=True)
class Message:
    """One turn. ``reasoning_content`` is what an earlier answer of this box thought; templates may use it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    role: Role
    content: str | Annotated[tuple[TextPart, ...], Length(1, MAX_PARTS)]
    reasoning_content: str | None = None

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


@dataclass(frozen=True, kw_only=True)
class ChatRequest(Choosing):
    """``x_lumen_trim`` lets the oldest turns be left out of a conversation that has outgrown the model's context; the
    answer then says in ``x_lumen_trimmed`` how many messages were. Without it such a conversation is refused."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    messages: Annotated[tuple[Message, ...], Length(1, MAX_MESSAGES)]
    max_completion_tokens: TokenLimit | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Range(0, MAX_TOP_LOGPROBS)] | None = None
    x_lumen_trim: bool | None = None
    response_format: ResponseFormat | None = None

    @property
    def token_limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def candidates(self) -> int | None:
        """How many likely tokens to list beside each chosen one; None = no log probabilities at all."""
        return (self.top_logprobs or 0) if self.logprobs else None
