"""How far a build is: counted from the object files that exist, so it is right for any build tool and after a break.

A file of libllama takes about 1.4 times as long as one of ggml (measured: 2.9 s against 2.1 s on one core), which
is what ``seconds left`` weighs by; by mere numbers it would promise half the true time at first. It begins with the
speed of the machine that was measured and believes its own the more, the longer it lasts.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

WEIGHTS = (("src/", 2.9), ("ggml/", 2.1))  # nothing else in the tree belongs to the target
CUDA_WEIGHT = 20.0
HEAD_START = 10.0  # seconds that the measured machine counts for
OUTPUT = re.compile(r" -o (\S+)")  # relative to the folder of the command, so never with a space


class Progress(NamedTuple):
    """Files built, files in all (0 while that is unknown), and whole seconds left if they can be told."""

    done: int
    total: int
    seconds_left: int | None


@dataclass(frozen=True)
class Part:
    """One object file of the build and what it weighs, in seconds on one core."""

    path: Path
    weight: float

    @property
    def built(self) -> bool:
        return self.path.exists()


def parts(tree: Path) -> list[Part]:
    """The object files of a configured build tree; empty before it is configured."""
    try:
        commands = json.loads((tree / "compile_commands.json").read_text())
    except (OSError, ValueError):
        return []
    outputs = (Path(entry["directory"], match[1]) for entry in commands if (match := OUTPUT.search(entry["command"])))
    return [Part(path, weight) for path in outputs if (weight := _weight(path, tree))]


def _weight(path: Path, tree: Path) -> float:
    if path.suffixes[-2:-1] == [".cu"]:
        return CUDA_WEIGHT
    name = path.relative_to(tree).as_posix()
    return next((weight for folder, weight in WEIGHTS if name.startswith(folder)), 0.0)


def weight_built(tree: Path) -> float:
    return sum(part.weight for part in parts(tree) if part.built)


@dataclass(frozen=True)
class Run:
    """One spell of compiling: for how many seconds, with how many ``jobs``, and what weight was built before it."""

    seconds: float
    jobs: int
    built_before: float = 0.0

    def speed(self, built: float) -> float:
        """Weight a second."""
        return (built - self.built_before + HEAD_START * self.jobs) / (self.seconds + HEAD_START)


def progress(tree: Path, run: Run | None = None) -> Progress:
    """Progress of ``tree``, with the time left if it is being compiled."""
    every = parts(tree)
    built = [part for part in every if part.built]
    weight = sum(part.weight for part in built)
    left = sum(part.weight for part in every) - weight
    return Progress(len(built), len(every), round(left / run.speed(weight)) if run else None)
