"""How many prompt tokens a step may read beside those who write: pure, learns from the steps as they come.

llama.cpp computes the decoding tokens of a step in one pass through the weights, and each prompt in a pass of its own.
So a step costs what its decoding part costs, and for each prompt beside it a further pass (about what the cheapest
decoding step costs) and something for every token. The first is learned as a moving average for each number of
decoding sequences, the last as one over all prompts, so that it follows a long prompt, whose later tokens cost more.

The goal is that nobody's pause between two tokens becomes twice as long because somebody else's document is read. So
the prompt part of a step may take ``CALM`` times as long as the decoding part. But where more people wait for their
first token than are being answered, that would serve the few at the cost of the many, and small steps waste time: then
it may take as many times as long as there are more of them. People are counted, not requests; where there is only one,
their requests. (Prompts that are short are read at once: see ``scheduler``.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

CALM: Final = 0.8  # with the decoding part 1.8 times the pause without; the rest is for what cannot be foreseen
LEAST: Final = 0.25  # of a pass's time is spent on tokens in it, or on a GPU, where a pass is dear, it would be wasted
FRESH: Final = 256  # steps after which a decoding part's cost is measured again
_WEIGHT: Final = 0.3  # of the newest measurement


class _Owned(Protocol):
    owner: str


@dataclass(frozen=True)
class Load:
    """What is to be weighed against each other: sequences that decode, and how many wait for each of those."""

    decoding: int
    crowd: float

    @classmethod
    def of(cls, decoding: Sequence[_Owned], reading: Sequence[_Owned]) -> Load:
        writers, readers = {one.owner for one in decoding}, {one.owner for one in reading}
        if len(writers | readers) == 1:
            return cls(len(decoding), len(reading) / len(decoding))
        return cls(len(decoding), len(readers) / len(writers))


@dataclass
class Pace:
    """Feed it every step with :meth:`took`; ask :meth:`allowed` before each that decodes and reads."""

    _decode: dict[int, float] = field(default_factory=dict)  # seconds of a step, by sequences that decode
    _measured: dict[int, int] = field(default_factory=dict)  # in which step
    _token: float = 0.0  # seconds of one prompt token; 0 = not known yet
    _steps: int = 0

    def took(self, decoding: int, reading: int, seconds: float, prompts: int = 1) -> None:
        """A step of so many decoding sequences, and tokens of so many prompts, took so long."""
        self._steps += 1
        if not reading:
            self._decode[decoding] = _mixed(self._decode.get(decoding, 0.0), seconds)
            self._measured[decoding] = self._steps
            return
        rest = seconds - (self._expected(decoding) if decoding else 0.0) - prompts * self._pass
        self._token = _mixed(self._token, max(rest, seconds / 20) / reading)

    def allowed(self, load: Load) -> int:
        """Prompt tokens for the next step; none where the decoding part is to be measured first."""
        if self._outdated(load.decoding):
            return 0
        if not self._token:
            return 1
        seconds = self._expected(load.decoding) * max(CALM, load.crowd) - self._pass
        return max(1, int(max(seconds, LEAST * self._pass) / self._token))

    @property
    def _pass(self) -> float:
        """Seconds of a pass through the weights with hardly anything in it."""
        return min(self._decode.values(), default=0.0)

    def _outdated(self, decoding: int) -> bool:
        """Whether nothing has been measured lately for about so many: not more than twice as many, nor half."""
        about = [step for count, step in self._measured.items() if 2 * count >= decoding and count <= 2 * decoding]
        return not about or self._steps - max(about) >= FRESH

    def _expected(self, decoding: int) -> float:
        """Seconds of a step of so many alone: on a straight line through the nearest number that was measured."""
        if not self._decode:
            return 0.0
        nearest = min(self._decode, key=lambda known: abs(known - decoding))
        known = self._decode[nearest]
        return self._pass + (known - self._pass) * decoding / nearest


def _mixed(old: float, new: float) -> float:
    return old + _WEIGHT * (new - old) if old else new
