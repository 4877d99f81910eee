"""Numbers of bytes as people write and read them."""

from __future__ import annotations

import re

from .errors import UsageError


def size(count: int) -> str:
    """A number of bytes as people say it: ``1.5 GB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def parse_size(text: str) -> int:
    """Bytes in ``700000``, ``32GB`` or ``30GiB``; ``UsageError`` for anything else."""
    found = re.fullmatch(r"(\d{1,15})\s*(?:([kMGT])(i?)B?|B)?", text.strip(), re.IGNORECASE)
    if not found:
        raise UsageError(f"{text!r} is not a size.", then="Write it like 32GB or 30GiB.")
    number, prefix, binary = found.groups()
    step = 1024 if binary else 1000
    power = "kmgt".index(prefix.lower()) + 1 if prefix else 0
    return int(number) * int(step**power)
