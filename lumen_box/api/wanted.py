"""From a checked request to what the engine is asked for; what both kinds of request share."""

from __future__ import annotations

from typing import Any

from ..engine.sampling import Sampling
from ..schemas.errors import InvalidParameter
from ..schemas.sampling import Choosing
from .authorise import Action, authorise
from .principal import Principal

SAMPLING = (
    "seed",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repeat_penalty",
    "ignore_eos",
)


def check_choosing(asked: Choosing, principal: Principal) -> None:
    """What one member alone cannot tell. Raises ``InvalidParameter``, and ``NotAllowed`` for what not all may ask."""
    if asked.x_lumen_isolated:
        authorise(principal, Action.ISOLATE)
    if asked.stream_options is not None and not asked.stream:
        raise InvalidParameter("`stream_options` needs `stream` to be true.", param="stream_options")


def sampling(asked: Choosing) -> Sampling:
    """What the request said; the engine's defaults hold for the rest."""
    said: dict[str, Any] = {name: value for name in SAMPLING if (value := getattr(asked, name)) is not None}
    return Sampling(**said)
