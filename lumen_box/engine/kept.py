"""What is kept while nothing runs on it: KV state and the tokens that it is of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .kv import Blob

Ids = npt.NDArray[np.int32]


def common(one: Ids, other: Ids) -> int:
    """How many tokens two sequences begin with alike."""
    length = min(len(one), len(other))
    differ = np.flatnonzero(one[:length] != other[:length])
    return int(differ[0]) if len(differ) else length


@dataclass(eq=False)
class Kept:
    """The KV of ``ids``: in ``slot``, or in ``blob`` where that is -1."""

    owner: str
    ids: Ids
    used: float = 0.0
    slot: int = -1
    blob: Blob | None = None


@dataclass(eq=False)
class Published:
    """A prefix for everybody. ``blob`` is None until it was read; ``hopeless`` where its state cannot be kept."""

    ids: Ids
    blob: Blob | None = None
    hopeless: bool = False


@dataclass
class Found:
    """The first ``length`` tokens of a prompt are those of ``source``."""

    length: int
    source: Kept | Published

    @property
    def whole(self) -> bool:
        return self.length == len(self.source.ids)

    @property
    def most(self) -> bool:
        """Most of the source is of use; what is left of it afterwards would not be missed."""
        return self.length * 2 >= len(self.source.ids)

    @property
    def in_slot(self) -> bool:
        return isinstance(self.source, Kept) and self.source.slot >= 0

    @property
    def used(self) -> float:
        """When it was last used; 0 for what is published."""
        return self.source.used if isinstance(self.source, Kept) else 0.0
