"""What every request for text may say about how its tokens are chosen and when to stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from .limits import MAX_GRAMMAR, MAX_NAME, MAX_SEED, MAX_STOP_LENGTH, MAX_STOPS, MAX_TOKENS, Length, Range

STRICT: dict[str, Any] = {"extra": "forbid"}  # an unknown member is refused

Probability = Annotated[float, Range(0, 1)]
Penalty = Annotated[float, Range(-2, 2)]
Stop = Annotated[str, Length(1, MAX_STOP_LENGTH)]
TokenLimit = Annotated[int, Range(1, MAX_TOKENS)]


@dataclass(frozen=True)
class StreamOptions:
    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    include_usage: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Choosing:
    """The members that chat and completion requests share. None = not given: the engine's default holds.

    ``top_k``, ``min_p``, ``repeat_penalty`` and ``ignore_eos`` are extensions of OpenAI's set, under llama.cpp's names.
    ``x_lumen_isolated`` answers this request with nothing else in the engine's steps and nothing reused, so that a
    replay is equal bit by bit; everybody else waits meanwhile, so not everybody may ask for it.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    model: Annotated[str, Length(1, MAX_NAME)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: TokenLimit | None = None
    stop: Stop | Annotated[tuple[Stop, ...], Length(1, MAX_STOPS)] | None = None
    seed: Annotated[int, Range(0, MAX_SEED)] | None = None
    temperature: Annotated[float, Range(0, 2)] | None = None
    top_p: Probability | None = None
    top_k: Annotated[int, Range(0, MAX_TOKENS)] | None = None
    min_p: Probability | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repeat_penalty: Annotated[float, Range(0.1, 2)] | None = None
    ignore_eos: bool | None = None
    x_lumen_isolated: bool | None = None
    grammar: Annotated[str, Length(1, MAX_GRAMMAR)] | None = None
    n: Literal[1] | None = None
    user: Annotated[str, Length(0, MAX_NAME)] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings, however they were given."""
        return (self.stop,) if isinstance(self.stop, str) else self.stop or ()

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)
