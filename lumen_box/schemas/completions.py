"""``POST /v1/completions``: a bare prompt, as text or as token ids, is continued."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from .limits import MAX_PROMPT_TOKENS, MAX_TOKENS, Length, Range
from .sampling import STRICT, Choosing

DEFAULT_TOKENS = 16  # what OpenAI's completions give where nothing is said

Id = Annotated[int, Range(0, MAX_TOKENS)]
Ids = Annotated[tuple[Id, ...], Length(1, MAX_PROMPT_TOKENS)]


@dataclass(frozen=True, kw_only=True)
class CompletionRequest(Choosing):
    """``prompt`` is text, token ids, or an array that holds one of these: :attr:`one_prompt`."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    prompt: str | Annotated[tuple[Id | str | Ids, ...], Length(1, MAX_PROMPT_TOKENS)]
    logprobs: Annotated[int, Range(0, 5)] | None = None

    @property
    def one_prompt(self) -> str | tuple[int, ...] | None:
        """The prompt; None where there are several, or a mixture."""
        if isinstance(self.prompt, str):
            return self.prompt
        ids = tuple(one for one in self.prompt if isinstance(one, int))
        if len(ids) == len(self.prompt):
            return ids
        first, *others = self.prompt
        return None if others or isinstance(first, int) else first

    @property
    def token_limit(self) -> int:
        return self.max_tokens or DEFAULT_TOKENS

    @property
    def candidates(self) -> int | None:
        return self.logprobs
