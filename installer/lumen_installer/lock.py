"""Reads ``requirements.lock``: every package, pinned with the hashes of its files, in sections by who needs it first.

A section begins with ``# [name]``. Each package stands in the first section that needs it, so a section is of use
only together with those before it, in the order of :data:`SECTIONS`; those of :data:`APART` are for some only.
"""

from __future__ import annotations

import re
from pathlib import Path

from lumen_box.errors import Damaged

SECTIONS = {
    "build": "what builds Lumen Box itself and the Python half of llama-cpp-python",
    "client": "the base: command line, console, HTTP client",
    "publisher": "the other machine: cryptography and TUF metadata",
    "box": "the box: gateway and engine",
    "engine": "the bindings of llama.cpp; the installer builds the library itself apart",
    "dev": "tests and checks",
    "tools": "a cmake for machines without one",
    "web": "the browser's chat",
}
APART = ("tools", "web")
MAX_BYTES = 4 * 1024**2
HEADING = re.compile(r"^# \[(\w+)\]", re.MULTILINE)
PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")


def pins(text: str) -> list[str]:
    """The pins of a requirements text, each with its marker and hashes; comments and options are left out."""
    joined = text.replace("\\\n", "\n\\")
    blocks = re.split(r"\n(?=[A-Za-z0-9])", "\n" + joined)
    return [block.replace("\n\\", "\\\n").strip() for block in map(_without_comments, blocks) if PIN.match(block)]


def _without_comments(block: str) -> str:
    return "\n".join(line for line in block.splitlines() if not line.lstrip("\\ ").startswith("#"))


def name_of(pin: str) -> str:
    """``Some_Package==1.0 …`` → ``some-package``."""
    match = PIN.match(pin)
    if match is None:
        raise Damaged(f"This is not a pinned requirement: {pin.splitlines()[0]!r}.")
    return re.sub(r"[-_.]+", "-", match[1]).lower()


def read(path: Path) -> dict[str, list[str]]:
    """The pins of each section.

    Raises:
        Damaged: a section is missing, unknown or out of order.
    """
    if path.stat().st_size > MAX_BYTES:
        raise Damaged(f"{path.name} is far too long to be what `make lock` wrote.")
    _, *pieces = HEADING.split(path.read_text())
    found = dict(zip(pieces[::2], map(pins, pieces[1::2]), strict=True))
    if list(found) != list(SECTIONS):
        raise Damaged(f"{path.name} has the sections {list(found)}, not {list(SECTIONS)}.", then="Run `make lock`.")
    return found
