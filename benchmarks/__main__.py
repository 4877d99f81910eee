"""Every comparison, one after the other, or those named: ``python -m benchmarks [NAME …]``, which is ``make bench``.

``python -m benchmarks NAME --help`` tells what else one takes, where it takes anything. The soak compares nothing and
runs only where it is named.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from . import fairness, install, load, prefix, rotation, serving, soak, start, stream

PLAIN: Final[Mapping[str, Callable[[], None]]] = {
    "start": start.main,
    "rotation": rotation.main,
    "load": load.main,
    "install": install.main,
    "stream": stream.main,
}
WITH_OPTIONS: Final[Mapping[str, Callable[[Sequence[str]], None]]] = {
    "serving": serving.main,
    "prefix": prefix.main,
    "fairness": fairness.main,
    "soak": soak.main,
}


def main(words: Sequence[str]) -> None:
    names = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
    options, known = words[len(names) :], [*PLAIN, *WITH_OPTIONS]
    if unknown := set(names) - set(known):
        sys.exit(f"There is no benchmark called {', '.join(sorted(unknown))}; there are {', '.join(known)}.")
    if options and (len(names) != 1 or names[0] in PLAIN):
        sys.exit(f"Only one of {', '.join(WITH_OPTIONS)} takes options, alone.")
    for name in names or [name for name in known if name != "soak"]:
        PLAIN[name]() if name in PLAIN else WITH_OPTIONS[name](options)


if __name__ == "__main__":
    main(sys.argv[1:])
