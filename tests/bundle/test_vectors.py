"""The vectors are what a second implementation of docs/format.md makes of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MAKER = Path(__file__).parent.parent / "vectors" / "make_bundle.py"


def test_the_second_implementation_agrees() -> None:
    done = subprocess.run([sys.executable, str(MAKER), "--check"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
