"""Reading GBNF, llama.cpp's notation for grammars: from text to rules, or a sentence about what is wrong. Pure.

    root ::= "[" (item ("," item)*)? "]"      # a comment
    item ::= [0-9]{1,3} | [^a-z\\n] | . | "\\x41\\u00e9"

The notation is that of llama.cpp's ``grammars/README.md``, less its token references (``<[5]>``): what those stand
for is no text. Whatever is read is bounded: in bytes, rules, nesting and repetitions. And it is sound: every name is
defined, no rule calls itself before it has read anything (also not behind rules that may be empty), and every rule
can come to an end, so that each beginning of an answer that the grammar takes is the beginning of a whole one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MAX_GRAMMAR: Final = 128 * 1024  # bytes of text
MAX_RULES: Final = 2048  # groups in parentheses count, too
MAX_NESTING: Final = 64  # groups inside each other
MAX_REPEAT: Final = 100_000
LAST_CHARACTER: Final = 0x10FFFF
_NO_CHARACTERS: Final = ((0, 0), (0xD800, 0xDFFF))
_ESCAPES: Final = {"t": "\t", "r": "\r", "n": "\n"} | {letter: letter for letter in '\\"[]-'}
_HEX: Final = {"x": 2, "u": 4, "U": 8}

_NAME: Final = re.compile(r"[A-Za-z0-9-]+")
_GAP: Final = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_WIDE_GAP: Final = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_TIMES: Final = re.compile(r"\{[ \t]*(\d+)[ \t]*(,?)[ \t]*(\d*)[ \t]*\}", re.ASCII)


class GrammarError(ValueError):
    """The grammar cannot be used; the text is a clause that says why."""


@dataclass(frozen=True)
class Chars:
    """One character out of ranges of code points, both ends included, in order and apart from each other."""

    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Ref:
    rule: int


@dataclass(frozen=True)
class Repeat:
    """``item`` from ``least`` to ``most`` times; None = as often as it likes."""

    item: Item
    least: int
    most: int | None


Item = Chars | Ref | Repeat
Alternative = tuple[Item, ...]
Rule = tuple[Alternative, ...]


@dataclass(frozen=True)
class Grammar:
    """Rules by number; ``root`` is where an answer begins."""

    rules: tuple[Rule, ...]
    root: int


def chars(*ranges: tuple[int, int], but: bool = False) -> Chars:
    """A class of characters, or with ``but`` of all others. NUL and half of a surrogate pair are never among them."""
    others = _others([*ranges, *_NO_CHARACTERS] if but else _others(ranges) + list(_NO_CHARACTERS))
    return Chars(tuple(others))


def _others(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """All code points that are in none of ``ranges``, as few ranges in order."""
    found, start = [], 0
    for low, high in sorted(ranges):
        if low > start:
            found.append((start, low - 1))
        start = max(start, high + 1)
    return [*found, (start, LAST_CHARACTER)] if start <= LAST_CHARACTER else found


ANY: Final = chars(but=True)


def literal(text: str) -> Alternative:
    return tuple(Chars(((ord(letter), ord(letter)),)) for letter in text)


def parse(text: str) -> Grammar:
    """The grammar in ``text``, whose start rule is ``root``.

    Raises:
        GrammarError: it is too large, no GBNF, or unsound.
    """
    from .grammar_check import check

    if len(text.encode("utf-8", "replace")) > MAX_GRAMMAR:
        raise GrammarError(f"it has more than {MAX_GRAMMAR} bytes")
    reader = _Reader(text)
    grammar = reader.read()
    check(grammar, reader.names)
    return grammar


class _Reader:
    """One pass over the text."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._numbers: dict[str, int] = {}
        self._rules: list[Rule | None] = []

    @property
    def names(self) -> dict[int, str]:
        """The names of the rules that have one."""
        return {number: name for name, number in self._numbers.items()}

    def read(self) -> Grammar:
        self._skip(_WIDE_GAP)
        while self._at < len(self._text):
            self._rule()
        if "root" not in self._numbers:
            raise GrammarError("it has no rule `root`")
        for name, number in self._numbers.items():
            if self._rules[number] is None:
                raise GrammarError(f"the rule `{name[:40]}` is not defined")
        return Grammar(tuple(rule for rule in self._rules if rule is not None), self._numbers["root"])

    def _rule(self) -> None:
        name = self._name()
        self._skip(_GAP)
        if not self._text.startswith("::=", self._at):
            raise self._wrong("`::=` is expected")
        self._at += 3
        self._skip(_WIDE_GAP)
        number = self._number(name)
        if self._rules[number] is not None:
            raise GrammarError(f"the rule `{name[:40]}` is defined twice")
        self._rules[number] = self._alternatives(0)
        if self._peek() not in ("\r", "\n", ""):
            raise self._wrong("the end of a rule is expected")
        self._skip(_WIDE_GAP)

    def _alternatives(self, nesting: int) -> Rule:
        found = [self._sequence(nesting)]
        while self._peek() == "|":
            self._at += 1
            self._skip(_WIDE_GAP)
            found.append(self._sequence(nesting))
        return tuple(found)

    def _sequence(self, nesting: int) -> Alternative:
        items: list[Item] = []
        last = 0  # where the items begin that a repetition would repeat
        while True:
            sign = self._peek()
            if sign and sign in "*+?{":
                if last == len(items):
                    raise self._wrong("there is nothing to repeat")
                items[last:] = [self._repeated(tuple(items[last:]))]
            else:
                found = self._item(sign, nesting)
                if found is None:
                    return tuple(items)
                last = len(items)
                items += found
            self._skip(_WIDE_GAP if nesting else _GAP)

    def _item(self, sign: str, nesting: int) -> Alternative | None:
        if sign == '"':
            return self._literal()
        if sign == "[":
            return (self._class(),)
        if sign == ".":
            self._at += 1
            return (ANY,)
        if sign == "(":
            return (self._group(nesting + 1),)
        if sign and sign in "<!":
            raise self._wrong("references to tokens are not supported")
        if _NAME.match(self._text, self._at):
            return (Ref(self._number(self._name())),)
        return None

    def _group(self, nesting: int) -> Item:
        if nesting > MAX_NESTING:
            raise GrammarError(f"it is nested more than {MAX_NESTING} deep")
        self._at += 1
        self._skip(_WIDE_GAP)
        rule = self._alternatives(nesting)
        if self._peek() != ")":
            raise self._wrong("`)` is expected")
        self._at += 1
        return self._anonymous(rule)

    def _literal(self) -> Alternative:
        self._at += 1
        found: list[Item] = []
        while (letter := self._character('"')) is not None:
            if letter == 0 or 0xD800 <= letter <= 0xDFFF:
                raise self._wrong("this is no character")
            found.append(Chars(((letter, letter),)))
        return tuple(found)

    def _class(self) -> Chars:
        self._at += 1
        but = self._peek() == "^"
        self._at += but
        ranges = []
        while (low := self._character("]")) is not None:
            high = low
            if self._peek() == "-" and not self._text.startswith("-]", self._at):
                self._at += 1
                high = self._one_character()
            if high < low:
                raise self._wrong("a range ends before it begins")
            ranges.append((low, high))
        if not ranges and not but:
            raise self._wrong("`[]` holds no character")
        return chars(*ranges, but=but)

    def _character(self, end: str) -> int | None:
        """The code point here; None at ``end``, which is passed."""
        if self._peek() == end:
            self._at += 1
            return None
        return self._one_character()

    def _one_character(self) -> int:
        letter = self._peek()
        if not letter:
            raise self._wrong("the text ends too early")
        self._at += 1
        return self._escape() if letter == "\\" else self._sound(ord(letter))

    def _escape(self) -> int:
        kind = self._peek()
        self._at += 1
        if kind in _HEX:
            digits = self._text[self._at : self._at + _HEX[kind]]
            if not re.fullmatch(rf"[0-9A-Fa-f]{{{_HEX[kind]}}}", digits):
                raise self._wrong(f"{_HEX[kind]} hexadecimal digits are expected")
            self._at += _HEX[kind]
            return self._sound(int(digits, 16))
        if kind not in _ESCAPES:
            raise self._wrong("this escape is not known")
        return ord(_ESCAPES[kind])

    def _sound(self, letter: int) -> int:
        if letter > LAST_CHARACTER:
            raise self._wrong("this is no character")
        return letter

    def _repeated(self, items: Alternative) -> Item:
        single = len(items) == 1 and not isinstance(items[0], Repeat)  # so that none are nested, at whatever length
        item = items[0] if single else self._anonymous((items,))
        sign = self._peek()
        if sign != "{":
            self._at += 1
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
            return Repeat(item, least, most)
        found = _TIMES.match(self._text, self._at)
        if not found or (found[3] and not found[2]) or max(len(found[1]), len(found[3])) > 9:
            raise self._wrong("this repetition cannot be read")
        self._at = found.end()
        least = int(found[1])
        most = (int(found[3]) if found[3] else None) if found[2] else least
        if max(least, most or 0) > MAX_REPEAT:
            raise GrammarError(f"it repeats something more than {MAX_REPEAT} times")
        if most is not None and most < least:
            raise self._wrong("a repetition has a maximum below its minimum")
        return Repeat(item, least, most)

    def _anonymous(self, rule: Rule) -> Ref:
        return Ref(self._add(rule))

    def _add(self, rule: Rule | None) -> int:
        if len(self._rules) >= MAX_RULES:
            raise GrammarError(f"it has more than {MAX_RULES} rules and groups")
        self._rules.append(rule)
        return len(self._rules) - 1

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            self._numbers[name] = self._add(None)
        return self._numbers[name]

    def _name(self) -> str:
        found = _NAME.match(self._text, self._at)
        if not found:
            raise self._wrong("the name of a rule is expected")
        self._at = found.end()
        return found[0]

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, gap: re.Pattern[str]) -> None:
        found = gap.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _wrong(self, why: str) -> GrammarError:
        line = self._text.count("\n", 0, self._at) + 1
        column = self._at - self._text.rfind("\n", 0, self._at)
        return GrammarError(f"{why} at line {line}, column {column}")
