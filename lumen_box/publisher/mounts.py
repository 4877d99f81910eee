"""Whether there is a medium at all: a mount point on which nothing is mounted is an ordinary folder of the local disk.

Nothing can tell in general. What can be told: the folder lies where media are mounted by custom, or where /etc/fstab
says that something is to be, and the file system that holds it begins further up.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

CUSTOMARY = (Path("/media"), Path("/mnt"), Path("/run/media"))
FSTAB, MOUNTED = Path("/etc/fstab"), Path("/proc/self/mountinfo")


def missing_medium(where: Path) -> bool:
    """Whether ``where`` lies at a mount point with nothing mounted; False on a system that does not tell."""
    mounted = _column(MOUNTED, 4)
    return bool(mounted) and unmounted(Path(os.path.realpath(where)), [*CUSTOMARY, *_column(FSTAB, 1)], mounted)


def unmounted(where: Path, places: Iterable[Path], mounted: Iterable[Path]) -> bool:
    """Whether ``where`` is in one of ``places``, and what is ``mounted`` there begins above that place."""
    holding = max((point for point in mounted if where.is_relative_to(point)), key=lambda point: len(point.parts))
    return any(where.is_relative_to(place) and holding in place.parents for place in places)


def _column(table: Path, number: int) -> list[Path]:
    """The absolute paths in one column of a table of the system; blanks in them are written in octal."""
    try:
        rows = [line.split() for line in table.read_text(errors="surrogateescape").splitlines()]
    except OSError:
        return []
    cells = [row[number] for row in rows if len(row) > number and not row[0].startswith("#")]
    return [Path(_plain(cell)) for cell in cells if cell.startswith("/")]


def _plain(cell: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), cell)
