"""How many bytes of memory a model that is started now may take.

What the machine has available counts, without what running models were promised and have not taken yet (KV of parked
conversations); where the settings name a sum for all models, what is left of that counts too. Models that are still to
be loaded get their share (``turns.share``). A version that is to be replaced is gone soon: it keeps what it has, and
what it was promised is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ..engine.machine import available
from ..engine.protocol import ModelFacts
from ..engine.supervisor import Engine
from .running import RunningModel
from .turns import Key, share


class Budget:
    """``most``: bytes that all models may take together, 0 = what the machine has. ``sizes``: of the weights of every
    active model. ``running``: what is loaded."""

    def __init__(
        self,
        most: int,
        sizes: Callable[[], Mapping[Key, int]],
        running: Callable[[], Iterable[RunningModel]],
        free: Callable[[], int] = available,
    ) -> None:
        self._most, self._sizes, self._running, self._free = most, sizes, running, free

    def of(self, key: Key, weights: int, engine: Engine) -> int:
        """For ``engine``, whose ``weights`` have so many bytes and which is to answer under ``key``; at least 1, which
        fits nothing."""
        others = [one for one in self._running() if one.engine is not engine]
        staying = [one for one in others if one.key != key]
        free = self._free() - sum(_promised(facts) for facts in _facts(staying))
        if self._most:
            taken = sum(facts.host_bytes for facts in _facts(others)) + sum(one.cache_bytes for one in _facts(staying))
            free = min(free, self._most - taken)
        loaded = {one.key for one in others}
        pending = [size for other, size in self._sizes().items() if other != key and other not in loaded]
        return max(share(free, weights, pending), 1)


def _facts(running: Iterable[RunningModel]) -> list[ModelFacts]:
    return [facts for one in running if (facts := one.engine.facts)]


def _promised(facts: ModelFacts) -> int:
    return max(facts.host_bytes + facts.cache_bytes - facts.resident_bytes, 0)
