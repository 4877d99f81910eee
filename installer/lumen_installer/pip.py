"""Runs the pip of an environment, and tells how far it is."""

from __future__ import annotations

import collections
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lumen_box.errors import LumenError

Report = Callable[[int, str], None]
TURNED_TO = re.compile(r"(?:Collecting|Processing|Requirement already satisfied:) (?:\S*/)?(\S+)")
TAIL = 15  # lines of pip's own words in an error


def install_pins(python: Path, pins: Sequence[str], report: Report) -> None:
    """Installs exactly ``pins``, whose hashes must fit; ``report(count, package)`` for each that pip turns to.

    Raises:
        LumenError: pip failed; its last lines are in the sentence.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
        wanted.write("\n".join(pins) + "\n")
        wanted.flush()
        run(python, ["install", "--no-deps", "--require-hashes", "--requirement", wanted.name], report=report)


def run(
    python: Path,
    arguments: Sequence[str],
    *,
    report: Report = lambda count, package: None,
    extra: Mapping[str, str] | None = None,
) -> None:
    """One run of pip, with ``extra`` in its environment."""
    command: list[str | Path] = [python, "-m", "pip", *arguments]
    command += ["--progress-bar", "off", "--no-input", "--disable-pip-version-check"]
    last: collections.deque[str] = collections.deque(maxlen=TAIL)
    count = 0
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | dict(extra or {}),
    ) as process:
        for line in process.stdout or ():
            last.append(line.rstrip())
            if match := TURNED_TO.match(line):
                count += 1
                report(count, match[1].replace("==", " "))
            elif line.startswith("Installing collected packages"):
                report(count, "writing them all to the disk")
    if process.returncode != 0:
        raise LumenError(
            "pip failed:\n  " + "\n  ".join(last) + "\n",
            kept="What it has downloaded is kept.",
            then="Put that right and run the same command again.",
        )
