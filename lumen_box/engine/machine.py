"""How much memory a new program may take: what the kernel says is available, or what the control groups still allow.

The control groups above a process limit it too, so the least of all counts. What a group uses only as cache of files
can be taken back at once and does not count as used. Nothing here is cached: the answer changes by the second.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

UNLIMITED: Final = 1 << 62  # version 1 of the control groups writes "no limit" as a number not far below 2**63


@dataclass(frozen=True)
class Memory:
    """``available`` bytes of ``total``; ``limit`` says in words which of the limits is the least."""

    available: int
    total: int
    limit: str


def memory(root: Path = Path("/")) -> Memory:
    """What there is now; below ``root`` lie the ``proc`` and ``sys`` to read."""
    sizes = _meminfo(root / "proc/meminfo")
    found = [Memory(sizes.get("MemAvailable", 0), sizes.get("MemTotal", 0), "the machine's memory")]
    found += [Memory(max(most - used, 0), most, "the control group's limit") for most, used in _groups(root)]
    return min(found, key=lambda one: one.available)


def available() -> int:
    """Bytes that a new program may take."""
    return memory().available


def resident(pid: int) -> int:
    """Bytes of RAM that a process has taken; 0 where it is gone. A confined process cannot ask for itself."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _meminfo(path: Path) -> dict[str, int]:
    """Bytes by name."""
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) == 3 and words[2] == "kB"}


def _groups(root: Path) -> Iterator[tuple[int, int]]:
    """Limit and use of every control group that this process is in and that has a limit."""
    for folder, most, used in _folders(root):
        limit = _number(folder / most)
        if limit is not None and limit < UNLIMITED:
            cache = _statistics(folder / "memory.stat")
            yield limit, max((_number(folder / used) or 0) - cache, 0)


def _folders(root: Path) -> Iterator[tuple[Path, str, str]]:
    """The process's group and all above it, with the names of the files that say limit and use."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            top, names = root / "sys/fs/cgroup", ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            top, names = root / "sys/fs/cgroup/memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        inside = Path(path.lstrip("/"))
        for group in [inside, *inside.parents]:
            yield top / group, *names


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _statistics(path: Path) -> int:
    """Bytes of files that the group keeps in memory and the kernel takes back first."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    values = dict(line.split(" ", 1) for line in lines if " " in line)
    return int(values.get("total_inactive_file") or values.get("inactive_file") or 0)
