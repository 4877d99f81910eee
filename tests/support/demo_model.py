"""Writes the model of ``make demo``: ``python -m tests.support.demo_model FILE [COMMAND …]``.

With a command, this process then becomes it, with the file as its last argument.

Two layers of random numbers that were steered to say one thing. It shows the whole way from a publisher to an
answer in a minute, and nothing about what a language model can do.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .tiny_model import write_tiny_model

SAYS = (
    "Hello!",
    " I am only",
    " a few hundred kilobytes",
    " of numbers",
    " made a moment ago,",
    " and this is all",
    " I can say.",
    " But every byte of me",
    " was signed, encrypted,",
    " carried, verified",
    " and decrypted in memory alone.",
)


def main() -> None:
    path = Path(sys.argv[1])
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    write_tiny_model(path, script=SAYS, context=2048, name="Demo")
    if command := sys.argv[2:]:
        os.execvp(command[0], [*command, str(path)])


if __name__ == "__main__":
    main()
