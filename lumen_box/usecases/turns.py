"""Which model goes where not all of them fit into memory: pure decisions over what is loaded.

* A model is *busy* while it answers, or while somebody is about to ask it.
* What is loaded has a turn of ``TURN_SECONDS``, and at least ``LOADS`` times as long as it took to load, so that
  loading takes at most a fifth of the time however people alternate. One that nobody has asked yet needs none.
* After its turn the one that was used least recently goes, as soon as it is not busy and has not been asked for as long
  as the settings say.
* One that is asked without end would never go: after its turn, while another one is wanted, it is *closed*. It finishes
  what it has begun, whoever asks for it anew waits in line behind the other, and then it goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

TURN_SECONDS: Final = 10.0
LOADS: Final = 4
BESIDE: Final = 1 << 30  # bytes that a worker takes beside its weights, generously

Key = tuple[str, str]


@dataclass(frozen=True)
class Resident:
    """A loaded model. Moments are seconds of one monotonic clock; ``used`` is None before anybody has asked."""

    key: Key
    loaded: float
    load_seconds: float
    used: float | None
    busy: bool
    closed: bool = False

    def turn_over(self, now: float) -> bool:
        return self.used is None or now - self.loaded >= max(TURN_SECONDS, LOADS * self.load_seconds)


def next_to_go(residents: Iterable[Resident], now: float, idle_seconds: float) -> Resident | None:
    """The one to unload now, if any may be."""
    free = [one for one in residents if not one.busy and (one.closed or _idle(one, now, idle_seconds))]
    return min(free, key=lambda one: (not one.closed, one.used or one.loaded), default=None)


def unused(residents: Iterable[Resident], *, but: Key) -> Resident | None:
    """The one that may go at once when an operator says so: not busy, and used least recently."""
    free = [one for one in residents if not one.busy and one.key != but]
    return min(free, key=lambda one: one.used or one.loaded, default=None)


def next_to_close(residents: Sequence[Resident], now: float, idle_seconds: float) -> Resident | None:
    """The one that takes no new requests from now on; none while another one is closed already."""
    if any(one.closed for one in residents):
        return None
    over = [one for one in residents if one.turn_over(now) and now - one.loaded >= idle_seconds]
    return min(over, key=lambda one: one.loaded, default=None)


def share(available: int, mine: int, pending: Sequence[int]) -> int:
    """Bytes of what is ``available`` that a model of ``mine`` bytes of weights may take, while others with so many are
    still to be loaded: its weights, what any worker takes beside them, and an even part of what all leave. Where they
    do not all fit, everything: then they take turns."""
    models = len(pending) + 1
    rest = available - mine - sum(pending) - models * BESIDE
    return available if rest < 0 else mine + BESIDE + rest // models


def _idle(one: Resident, now: float, idle_seconds: float) -> bool:
    return one.turn_over(now) and now - (one.used if one.used is not None else one.loaded) >= idle_seconds
