"""Requests that wait to be turned into tokens: the shortest first, and one that is withdrawn is gone at once.

Tokenising takes time in proportion to the text, in one thread for everybody. In order of arrival a few large documents
would hold up every short question behind them, even after whoever sent them had left.
"""

from __future__ import annotations

import threading
from typing import Final

from .protocol import Embed, Generate, Share, Tokenize

Unprepared = Generate | Embed | Tokenize | Share

_SHARE: Final = 0  # in place of a number: only the newest set of published prefixes counts


class Pile:
    """Any thread may put, take and withdraw."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[int, Unprepared] = {}  # by number, in order of arrival

    def put(self, message: Unprepared) -> None:
        with self._changed:
            self._waiting[_SHARE if isinstance(message, Share) else message.id] = message
            self._changed.notify()

    def take(self) -> Unprepared:
        """The shortest, among equals the one that came first; waits until there is one."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting)
            return self._waiting.pop(min(self._waiting, key=lambda number: _size(self._waiting[number])))

    def withdraw(self, number: int) -> bool:
        """Whether it was still here; now it is not."""
        with self._changed:
            return self._waiting.pop(number, None) is not None


def _size(message: Unprepared) -> int:
    match message:
        case Share(prefixes):
            return sum(map(len, prefixes))
        case Generate():
            return len(message.prompt)
        case Embed():
            return sum(map(len, message.inputs))
    return len(message.text)
