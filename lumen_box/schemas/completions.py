"""``POST /v1/completions``: a bare prompt, as text or as token ids, is continued."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from .limits import MAX_PROMPT_TOKENS, MAX_TOKENS, Length, Range
from .sampling import STRICT, Choosing

DEFAULT_TOKENS = 16  # what OpenAI's completions give where nothing is said

Ids = Annotated[tuple[Annotated[int, Range(0, MAX_TOKENS)], ...], Length(1, MAX_PROMPT_TOKENS)]
One = Length(1, 1)  # several prompts in one request are not taken


@dataclass(frozen=True, kw_only=True)
class CompletionRequest(Choosing):
    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    prompt: str | Ids | Annotated[tuple[str], One] | Annotated[tuple[Ids], One]
    logprobs: Annotated[int, Range(0, 5)] | None = None

    @property
    def text_or_ids(self) -> str | tuple[int, ...]:
        """The one prompt, taken out of the array that OpenAI's clients may wrap it in."""
        prompt: Any = self.prompt
        if isinstance(prompt, str) or isinstance(prompt[0], int):
            return prompt  # type: ignore[no-any-return]
        return prompt[0]  # type: ignore[no-any-return]

    @property
    def token_limit(self) -> int:
        return self.max_tokens or DEFAULT_TOKENS

    @property
    def candidates(self) -> int | None:
        return self.logprobs
