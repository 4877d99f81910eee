"""What long work says about itself while it runs.

A use case reports these as it goes; whoever runs it shows them. ``Step`` announces a stage by name, ``Advance``
says how far the stage is (``done`` of ``total``, in ``unit``), ``Note`` is a sentence worth keeping on screen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    title: str


@dataclass(frozen=True)
class Advance:
    done: int
    total: int
    unit: str = "bytes"


@dataclass(frozen=True)
class Note:
    text: str


Event = Step | Advance | Note
Report = Callable[[Event], None]


def silent(event: Event) -> None:
    """A report that nobody reads."""
