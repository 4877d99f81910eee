"""What preparing shows, on stderr only: stdout belongs to the command that follows."""

from __future__ import annotations

import sys
import time
from typing import TextIO

SELDOM = 5.0  # seconds between the lines of a lasting step where there is no terminal


class Screen:
    """One line a step, with the seconds since the start; a lasting step rewrites its line on a terminal."""

    def __init__(self, out: TextIO | None = None, began: float | None = None) -> None:
        self._out = out or sys.stderr
        self._began = time.monotonic() if began is None else began
        self._rewrites = self._out.isatty()
        self._last = 0.0
        self._open = False

    def step(self, text: str) -> None:
        self._close()
        self._out.write(f"{self._seconds():4.0f} s  {text}\n")
        self._out.flush()

    def lasting(self, text: str) -> None:
        """Says how far something is; call it as often as there is news."""
        now = time.monotonic()
        if self._rewrites:
            self._out.write(f"\r\x1b[K{self._seconds():4.0f} s  {text}")
            self._out.flush()
            self._open = True
        elif now - self._last >= SELDOM:
            self._last = now
            self.step(text)

    def _close(self) -> None:
        if self._open:
            self._out.write("\n")
            self._open = False

    def _seconds(self) -> float:
        return time.monotonic() - self._began
