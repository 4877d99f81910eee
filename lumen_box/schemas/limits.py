"""Bounds on what a request may hold, each in one place, and the annotations that enforce them.

The annotations are inert on a client. On the gateway the validator asks them how to check a value; a number that
cannot be compared (NaN) is outside every range.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import Any

MAX_MESSAGES = 4096
MAX_PARTS = 256  # text parts of one message
MAX_STOPS = 16
MAX_STOP_LENGTH = 256
MAX_NAME = 256
MAX_TOKENS = 2**31 - 1
MAX_SEED = 2**32 - 2  # the engine's seeds have 32 bits, and the last one means "any"
MAX_TOP_LOGPROBS = 20
MAX_GRAMMAR = 128 * 1024
MAX_PROMPT_TOKENS = 2**20

_BODY_CHARACTERS = 16 * 1024 * 1024  # more than any request body holds


@dataclass(frozen=True)
class Range:
    """A number from ``least`` to ``most``, both included."""

    least: float
    most: float

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        return _checked(self.check, handler(source))

    def check(self, value: float) -> float:
        """``value`` itself; ``ValueError`` where it is outside."""
        if not self.least <= value <= self.most:
            raise ValueError(f"must be between {self.least} and {self.most}")
        return value


@dataclass(frozen=True)
class Length:
    """A text or an array of ``least`` to ``most`` characters or elements."""

    least: int = 0
    most: int = _BODY_CHARACTERS

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        return _checked(self.check, handler(source))

    def check(self, value: Sized) -> Sized:
        """``value`` itself; ``ValueError`` where it is too short or too long."""
        if len(value) < self.least:
            raise ValueError("must not be empty" if self.least == 1 else f"needs at least {self.least} elements")
        if len(value) > self.most:
            raise ValueError(f"is longer than {self.most}")
        return value


def _checked(check: Callable[[Any], Any], inner: Any) -> Any:
    from pydantic_core import core_schema

    return core_schema.no_info_after_validator_function(check, inner)
