"""The vectors are what a second implementation writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_vectors_are_what_the_second_implementation_writes() -> None:
    script = Path(__file__).with_name("make.py")
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_second_implementation_shares_no_code() -> None:
    assert "lumen_box" not in Path(__file__).with_name("make.py").read_text()
