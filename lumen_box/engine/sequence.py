"""One answer as the scheduler sees it: its tokens, how far they were computed, and what of them goes into a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(eq=False)
class Running:
    """One sequence: ``tokens`` are all it consists of so far, of which the first ``done`` are in the KV cache.

    ``reused`` of these were there when it began. ``silent``: it is read, and nothing is sampled after it. ``keep``: its
    KV may be kept when it has ended.
    """

    id: int
    tokens: list[int]
    priority: int = 0
    owner: str = ""
    isolated: bool = False
    silent: bool = False
    keep: bool = True
    slot: int = -1
    done: int = 0
    reused: int = 0
    prompt: int = field(init=False)
    ids: npt.NDArray[np.int32] = field(init=False)

    def __post_init__(self) -> None:
        self.prompt = len(self.tokens)
        self.ids = np.array(self.tokens, np.int32)

    @property
    def decoding(self) -> bool:
        """Only the newest token is missing from the cache, and the whole prompt is in it."""
        return self.done >= self.prompt

    @property
    def unread(self) -> int:
        return max(0, self.prompt - self.done)

    @property
    def generated(self) -> int:
        return len(self.tokens) - self.prompt


@dataclass(frozen=True)
class Chunk:
    """Tokens ``start`` up to ``end`` of a sequence; ``last`` if a token is to be sampled after them."""

    sequence: Running
    start: int
    end: int

    @property
    def last(self) -> bool:
        return self.end == len(self.sequence.tokens) and not self.sequence.silent

    @property
    def tokens(self) -> Sequence[int]:
        return self.sequence.tokens[self.start : self.end]
