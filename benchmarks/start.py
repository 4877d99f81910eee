"""How long the command line takes to say anything: ``python -m benchmarks.start``.

``lumen-box --help`` against a Python that does nothing.
"""

from __future__ import annotations

from typing import Final

from . import material
from .harness import Aim, Side, compare, heading, python

ROUNDS: Final = 21


def main() -> None:
    heading()
    sides = [Side("help", material.lumen_box("--help")), Side("nothing", python("-c", "pass"))]
    compare("lumen-box --help against python -c pass", sides, [Aim(plus=True, most=0.25)], rounds=ROUNDS)


if __name__ == "__main__":
    main()
