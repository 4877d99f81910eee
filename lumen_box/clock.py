"""Time, passed in, so that a test can hold it still.

Wall-clock time is only ever a claim: what the box believes to be now is decided in ``trust`` from the wall
clock, the release's build time and every accepted ``signed_at``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime


def _system_now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Clock:
    """``now`` gives aware UTC datetimes in whole seconds; ``monotonic`` gives seconds for intervals."""

    now: Callable[[], datetime] = field(default=_system_now)
    monotonic: Callable[[], float] = field(default=time.monotonic)


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, the only form that Lumen Box stores: ``2026-11-23T09:00:00Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_stamp(text: str) -> datetime:
    """The reverse of :func:`stamp`; anything else is a ``ValueError``."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
