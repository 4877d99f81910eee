"""What a build says about itself on disk, so that any process can watch it, whoever started it."""

from __future__ import annotations

import enum
import json
from dataclasses import asdict, dataclass
from pathlib import Path


class Stage(enum.StrEnum):
    WAITING = "waiting"
    FETCHING = "fetching the sources"
    UNPACKING = "unpacking"
    CONFIGURING = "configuring"
    COMPILING = "compiling"
    KEEPING = "keeping the result"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class State:
    """``pid`` builds on behalf of ``owner``; ``began`` is when compiling began (seconds since the epoch); ``code`` and
    ``error`` say why it failed."""

    stage: Stage
    pid: int
    owner: int
    tree: str = ""
    began: float = 0.0
    built_before: float = 0.0
    error: str = ""
    code: str = ""

    def write(self, folder: Path) -> None:
        fresh = folder / ".state.json.new"
        fresh.write_text(json.dumps(asdict(self)))
        fresh.replace(folder / "state.json")


def read(folder: Path) -> State | None:
    """The last state written in ``folder``; None if there is none that can be read."""
    try:
        fields = json.loads((folder / "state.json").read_text())
        return State(**{**fields, "stage": Stage(fields["stage"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
