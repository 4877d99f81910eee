"""Runs pytest in a network namespace with no way out: ``python tests/run.py [PYTEST ARGUMENTS]``.

Whatever is downloaded must be here before. ``--check`` only says whether this machine can do it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CANNOT = 3  # the exit status where the tests could not be isolated
DEFAULTS = ("-n", "2")  # later arguments win
# Two workers on two cores: a library with threads of its own would only get in its own way.
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def main(arguments: list[str]) -> int:
    sys.path.insert(0, str(ROOT))
    from tests.support import isolation

    try:
        isolation.enter()
    except isolation.CannotIsolate as refusal:
        sys.stderr.write(
            f"The tests run only where there is no way out to a network. This kernel does not allow it: {refusal}.\n"
            "Allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone).\n"
        )
        return CANNOT
    if arguments == ["--check"]:
        return 0
    os.environ.update(ONE_THREAD)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background commands ignore it, and so would ours
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *DEFAULTS, *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
