"""Runs the sides of a comparison A B A B … and prints what they took: command lines, medians, paired ratios.

A side is a command line. What is measured is the wall time of its process, or where ``reports`` is set the numbers
that it prints as one JSON object in its last line. Only numbers of the same round are compared, because both were taken
within seconds of each other; the median of those ratios is the result, and their range says how far to believe it.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
WALL: Final = "seconds"

Measures = Mapping[str, float]


def nothing() -> None:
    """No preparation."""


@dataclass(frozen=True)
class Side:
    """One way to do it. ``before`` prepares each run and is not timed; ``shown`` says what else there is to know."""

    name: str
    command: tuple[str, ...]
    reports: bool = False
    before: Callable[[], None] = nothing
    shown: str = ""

    def run(self) -> Measures:
        """One run; a command that fails ends the benchmark with what it said."""
        self.before()
        began = time.perf_counter()
        done = subprocess.run(self.command, cwd=ROOT, capture_output=True, text=True)
        took = time.perf_counter() - began
        if done.returncode:
            sys.exit(f"{shlex.join(self.command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout.splitlines()[-1]) if self.reports else {WALL: took}


@dataclass(frozen=True)
class Aim:
    """What is compared: the first side's ``measure`` over another's, which is to be at most ``most`` or at least
    ``least``; as a quotient, or as a difference where ``plus``. Where ``alone``, the first side's measure itself is
    held against the bound, and nothing is compared."""

    measure: str = WALL
    unit: str = "s"
    most: float | None = None
    plus: bool = False
    least: float | None = None
    alone: bool = False

    def of(self, ours: float, theirs: float) -> float:
        """What the bound is about; a peer that measured nothing is infinitely far away."""
        if self.plus:
            return ours - theirs
        return ours / theirs if theirs else math.inf

    def shown(self, value: float) -> str:
        return f"{value:+.3f} {self.unit}" if self.plus else f"{value:.2f} x"

    def verdict(self, value: float, show: Callable[[float], str]) -> str:
        if self.most is not None:
            return f"; to reach at most {show(self.most)}: {'met' if value <= self.most else 'MISSED'}"
        if self.least is not None:
            return f"; to reach at least {show(self.least)}: {'met' if value >= self.least else 'MISSED'}"
        return ""


def compare(title: str, sides: Sequence[Side], aims: Sequence[Aim], *, rounds: int, rehearse: bool = True) -> None:
    """Runs every side once unmeasured if ``rehearse``, then ``rounds`` rounds of all, and prints the comparison.

    The first side is the one in question, each further one a peer that it is compared with; there may be none.
    """
    print(f"## {title}\n", flush=True)
    for side in sides:
        print(f"{side.name:>12}: {side.shown or displayed(side.command)}", flush=True)
        if rehearse:
            side.run()
    runs = [[_told(side) for side in sides] for _ in range(rounds)]
    print(f"\n{rounds} rounds, {' '.join(side.name for side in sides)} in turn; load average {_load()} afterwards\n")
    for aim in aims:
        columns = [[run[aim.measure] for run in column] for column in zip(*runs, strict=True)]
        _print_aim(aim, sides, columns)
    print(flush=True)


def _told(side: Side) -> Measures:
    """One run; stderr shows at once what it measured, since a comparison may take long and be interrupted."""
    measures = side.run()
    shown = ", ".join(f"{name} {value:.4g}" for name, value in measures.items())
    print(f"{side.name}: {shown}", file=sys.stderr, flush=True)
    return measures


def _print_aim(aim: Aim, sides: Sequence[Side], columns: Sequence[Sequence[float]]) -> None:
    for side, numbers in zip(sides, columns, strict=True):
        middle = statistics.median(numbers)
        said = aim.verdict(middle, lambda bound: f"{bound} {aim.unit}") if aim.alone and side is sides[0] else ""
        print(f"{aim.measure:>14}  {side.name:<12} median {middle:.3f} {aim.unit}", end="")
        print(f"  ({min(numbers):.3f} to {max(numbers):.3f}){said}")
    if aim.alone:
        return
    for side, numbers in zip(sides[1:], columns[1:], strict=True):
        pairs = [aim.of(ours, theirs) for ours, theirs in zip(columns[0], numbers, strict=True)]
        middle = statistics.median(pairs)
        print(f"{aim.measure:>14}  {sides[0].name} against {side.name}: {aim.shown(middle)}", end="")
        print(f"  ({aim.shown(min(pairs))} to {aim.shown(max(pairs))}){aim.verdict(middle, aim.shown)}")


def python(*words: str) -> tuple[str, ...]:
    """A command line of this very Python."""
    return sys.executable, *words


def heading() -> None:
    """Says on which machine and when."""
    print(f"{machine()}\n{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load average {_load()} before\n", flush=True)


def machine() -> str:
    """One line: processor, cores, memory, kernel, Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return (
        f"{_processor()}, {cores} cores, {memory:.0f} GiB; {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _load() -> str:
    return f"{os.getloadavg()[0]:.2f}"


def displayed(command: Sequence[str]) -> str:
    """A command line as somebody in the checkout would type it."""
    return shlex.join(command).replace(f"{ROOT}/", "")
