"""A ``pattern`` of JSON Schema as an expression of GBNF, where ECMA-262's expression is really a regular one. Pure.

Taken are ``^…$`` around the whole, characters, ``.``, classes, ``\\d \\w \\s``, groups, ``|`` and the greedy
repetitions. Refused is what looks around (``\\b``, ``(?=``), back (``\\1``), or depends on what else could match
(``*?``). Of a class only those characters count that a JSON string holds as they are, so ``[^a]`` gives no quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from .gbnf import MAX_NESTING, MAX_REPEAT, GrammarError
from .schema_values import letters, quoted

MAX_PATTERN: Final = 1024
_CLASSES: Final = {"d": "0-9", "w": "A-Za-z0-9_", "s": "\\x20"}
_PLAIN: Final = frozenset(r"^$\.*+?()[]{}|/-")
_UNQUOTED: Final = '"\\\\\\x00-\\x1f'  # what a JSON string must escape, for a class of GBNF
_TIMES: Final = re.compile(r"\{([0-9]{1,9})(?:(,)([0-9]{0,9}))?\}")


def pattern(source: str) -> str:
    """What ``source`` matches, as the inside of a JSON string.

    Raises:
        GrammarError: it is none of the patterns that are taken.
    """
    if len(source) > MAX_PATTERN:
        raise GrammarError(f"it is longer than {MAX_PATTERN} characters")
    if not (source.startswith("^") and source.endswith("$")) or source.endswith("\\$"):
        raise GrammarError("it must begin with `^` and end with `$`")
    reader = _Reader(source[1:-1])
    found = reader.alternatives(0)
    if reader.sign:
        raise GrammarError("a `)` is there without its `(`")
    if reader.parted:  # ^a|b$ holds for all that begins with a
        raise GrammarError("`|` must stand in a group, as in `^(a|b)$`")
    return f"({found})"


class _Reader:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self.parted = False

    @property
    def sign(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        sign = self.sign
        if not sign:
            raise GrammarError("it ends too early")
        self._at += 1
        return sign

    def alternatives(self, nesting: int) -> str:
        if nesting > MAX_NESTING // 4:
            raise GrammarError("its groups are nested too deep")
        found = [self._sequence(nesting)]
        while self.sign == "|":
            self._at += 1
            self.parted = self.parted or not nesting
            found.append(self._sequence(nesting))
        return " | ".join(found)

    def _sequence(self, nesting: int) -> str:
        items = []
        while self.sign and self.sign not in "|)":
            items.append(self._atom(nesting) + self._repetition())
        return " ".join(items) or '""'

    def _atom(self, nesting: int) -> str:
        sign = self._take()
        if sign == "(":
            return self._group(nesting)
        if sign == "[":
            return self._class()
        if sign == ".":
            return f"[^{_UNQUOTED}\\x7f-\\x9f\\u2028\\u2029]"
        if sign == "\\":
            return self._escape()
        if sign in "^$*+?{}]":
            raise GrammarError(f"`{sign}` cannot stand where it does")
        return _as_json(sign)

    def _group(self, nesting: int) -> str:
        if self.sign == "?":
            if not self._text.startswith("?:", self._at):
                raise GrammarError("only `(…)` and `(?:…)` are taken as groups")
            self._at += 2
        inner = self.alternatives(nesting + 1)
        if self._take() != ")":
            raise GrammarError("a `)` is missing")
        return f"({inner})"

    def _escape(self) -> str:
        sign = self._take()
        if sign in _CLASSES:
            return f"[{_CLASSES[sign]}]"
        if sign not in _PLAIN:
            raise GrammarError(f"`\\{sign}` is not taken" if sign.isprintable() else "an escape in it is not taken")
        return _as_json(sign)

    def _repetition(self) -> str:
        sign, found = self.sign, ""
        if sign and sign in "*+?":
            self._at += 1
            found = sign
        elif sign == "{":
            found = self._times()
        if found and self.sign and self.sign in "?+*{":
            raise GrammarError("only greedy repetitions are taken, and one at a time")
        return found

    def _times(self) -> str:
        found = _TIMES.match(self._text, self._at)
        if not found:
            raise GrammarError("a repetition in it cannot be read")
        least, most = int(found[1]), int(found[3]) if found[3] else None
        if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
            raise GrammarError("a repetition in it is too large, or upside down")
        self._at = found.end()
        return found[0]

    def _class(self) -> str:
        but = self.sign == "^"
        self._at += but
        parts = []
        while self.sign != "]":
            parts.append(self._range(but))
        self._at += 1
        inner = "".join(parts)
        if but:
            return f"[^{inner}{_UNQUOTED}]"
        if not inner:
            raise GrammarError("a class in it holds nothing that a JSON string can hold unescaped")
        return f"[{inner}]"

    def _range(self, but: bool) -> str:
        """One member of a class, in the notation of GBNF."""
        low = self._member()
        if len(low) > 1:
            return low
        if self.sign != "-" or self._text.startswith("-]", self._at):
            return "" if not but and not _plain(low) else letters(low)[1:-1]
        self._at += 1
        high = self._member()
        if len(high) > 1 or high < low:
            raise GrammarError("a range in it ends before it begins")
        return _span(low, high) if but else "".join(_plain_spans(ord(low), ord(high)))

    def _member(self) -> str:
        """One character, or the ranges of a class escape."""
        sign = self._take()
        if sign != "\\":
            return sign
        sign = self._take()
        if sign in _CLASSES:
            return _CLASSES[sign]
        if sign not in _PLAIN:
            raise GrammarError("an escape in a class of it is not taken")
        return sign


def _span(low: str, high: str) -> str:
    return f"{letters(low)[1:-1]}-{letters(high)[1:-1]}"


def _plain_spans(low: int, high: int) -> Iterator[str]:
    """The range less what a JSON string must escape."""
    start = max(low, 0x20)
    for end in (*(hole for hole in (0x22, 0x5C) if start <= hole <= high), high + 1):
        if start < end:
            yield _span(chr(start), chr(end - 1))
        start = end + 1


def _plain(letter: str) -> bool:
    return letter >= " " and letter not in '"\\'


def _as_json(letter: str) -> str:
    """One character as a JSON string spells it."""
    if letter < " ":
        raise GrammarError("it holds a control character")
    return quoted(letter if _plain(letter) else "\\" + letter)
