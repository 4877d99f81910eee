"""How the next token is chosen: what a request may set, in llama.cpp's terms.

The defaults and the order in which ``llama.SamplerChain`` applies them are those of llama-cpp-python's ``Llama``, so a
request alone on the engine with a fixed seed draws the tokens that ``Llama`` draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..errors import UsageError

MAX_SEED: Final = 2**32 - 2  # llama.cpp takes 2³² − 1 for "any seed"
PENALTY_WINDOW: Final = 64  # tokens of the answer that the penalties look back on
RANGES: Final = {
    "temperature": (0.0, 100.0),
    "top_k": (0, 2**31 - 1),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repeat_penalty": (0.01, 100.0),
    "frequency_penalty": (-100.0, 100.0),
    "presence_penalty": (-100.0, 100.0),
}


@dataclass(frozen=True)
class Sampling:
    """One request's sampling. ``temperature`` 0 is greedy; ``top_k`` 0 keeps every token; no ``seed``: a random one.

    Raises:
        UsageError: a value is outside its range, or not a number.
    """

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int | None = None
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        for name, (least, most) in RANGES.items():
            if not least <= getattr(self, name) <= most:  # false for NaN as well
                raise UsageError(f"{name} is not between {least:g} and {most:g}.")
        if self.seed is not None and not 0 <= self.seed <= MAX_SEED:
            raise UsageError(f"seed is not between 0 and {MAX_SEED}.")

    @property
    def greedy(self) -> bool:
        return self.temperature == 0.0

    @property
    def penalised(self) -> bool:
        return self.repeat_penalty != 1.0 or self.frequency_penalty != 0.0 or self.presence_penalty != 0.0


GREEDY: Final = Sampling(temperature=0.0)
