"""Every comparison, one after the other, or those named: ``python -m benchmarks [NAME …]``, which is ``make bench``."""

from __future__ import annotations

import sys
from typing import Final

from . import install, load, rotation, start, stream

ALL: Final = {"start": start, "rotation": rotation, "load": load, "install": install, "stream": stream}


def main(names: list[str]) -> None:
    if unknown := set(names) - set(ALL):
        sys.exit(f"There is no benchmark called {', '.join(sorted(unknown))}; there are {', '.join(ALL)}.")
    for name in names or ALL:
        ALL[name].main()


if __name__ == "__main__":
    main(sys.argv[1:])
