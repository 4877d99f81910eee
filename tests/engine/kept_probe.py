"""A process that keeps an answer's KV as it is told, line by line, for a test that searches its memory meanwhile.

``python -m tests.engine.kept_probe MODEL`` reads ``answer OWNER SEED``, ``forget OWNER``, ``publish SEED`` and
``withdraw`` and prints a line after each.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tests.engine.bench import Bench, load, prompt

LENGTH = 100


def main() -> None:
    bench = Bench(load(Path(sys.argv[1])))
    print("ready", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["answer", owner, seed]:
                bench.answer(owner, prompt(int(seed), LENGTH))
            case ["forget", owner]:
                bench.decoder.forget(owner)
            case ["publish", seed]:
                bench.decoder.share([np.array(prompt(int(seed), LENGTH), np.int32)])
                bench.run()
            case ["withdraw"]:
                bench.decoder.share([])
        print("done", flush=True)


if __name__ == "__main__":
    main()
