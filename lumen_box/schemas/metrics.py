"""What ``/metrics`` tells: one number at a time, in the words of Prometheus' text format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Sample:
    """A number as it is now; ``kind`` is how Prometheus treats it."""

    name: str
    help: str
    value: float
    kind: Literal["gauge", "counter"] = "gauge"
    labels: Labels = ()
