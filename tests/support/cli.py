"""The command line as its users run it: a process of its own, stdout and stderr apart, an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 120


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Shell:
    """Runs ``lumen-box`` in one folder, with one environment, and nothing on its terminal."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str, code: int | None = 0, stdin: str | None = None, **more: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "lumen_box.cli.main", *words],
            cwd=self.folder,
            env={**os.environ, **self.environment, **more},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        if code is not None:
            assert done.returncode == code, f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return Result(done.returncode, done.stdout, done.stderr)


def passphrase_file(path: Path, secret: bytes) -> str:
    path.touch(mode=0o600)
    path.write_bytes(secret + b"\n")
    return str(path)
