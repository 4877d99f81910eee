"""Strings and numbers of JSON, under the bounds that a schema sets, as expressions of GBNF. Pure.

Whatever one of these expressions takes is a value that the bounds allow. The reverse does not hold: there are other
spellings (``1e2``, ``\\u0041``), and of most things it is enough that a model can write one.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Final

_DEEPEST: Final = 12  # beginnings inside beginnings that several constants share
MAX_DIGITS: Final = 15  # of an integer; every such number is exact in a double, too

CHARACTER: Final = (
    r'([^"\\\x00-\x1f] | "\\" (["\\/bfnrt] | "u" ([0-9a-cA-CefEF] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2})))'
)
NUMBER: Final = r'"-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?'
INTEGER: Final = f'("0" | "-"? [1-9] [0-9]{{0,{MAX_DIGITS - 1}}})'
_FRACTION: Final = '("." [0-9]{1,15})'

_LEAP: Final = '([12] [0-9] ("0" [48] | [2468] [048] | [13579] [26]) | ("12" | "16" | "20" | "24" | "28") "00")'
_DAYS: Final = (
    '(("0" [13578] | "1" [02]) "-" ("0" [1-9] | [12] [0-9] | "3" [01])'
    ' | ("0" [469] | "11") "-" ("0" [1-9] | [12] [0-9] | "30")'
    ' | "02-" ("0" [1-9] | "1" [0-9] | "2" [0-8]))'
)
_DATE: Final = f'([12] [0-9]{{3}} "-" {_DAYS} | {_LEAP} "-02-29")'
_HOUR: Final = '([01] [0-9] | "2" [0-3])'
_TIME: Final = f'{_HOUR} ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{{1,6}})? ("Z" | [-+] {_HOUR} ":" [0-5] [0-9])'
FORMATS: Final = {  # RFC 3339 and RFC 9562; years from 1000 to 2999
    "date": _DATE,
    "time": _TIME,
    "date-time": f'{_DATE} "T" {_TIME}',
    "uuid": '[0-9a-f]{8} ("-" [0-9a-f]{4}){3} "-" [0-9a-f]{12}',
}


def quoted(text: str) -> str:
    """A literal of GBNF that stands for ``text``."""
    return '"' + "".join(_escaped(letter, '"\\') for letter in text) + '"'


def letters(text: str, *, but: bool = False) -> str:
    """A class of GBNF of these characters; with ``but`` of all others."""
    return f"[{'^' * but}{''.join(_escaped(letter, '^]-[' + chr(92)) for letter in text)}]"


def _escaped(letter: str, special: str) -> str:
    code = ord(letter)
    if letter not in special and letter.isprintable():
        return letter
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def constant(value: object) -> str:
    """Exactly this value, without white space between its members."""
    return quoted(_json(value))


def constants(values: Iterable[object]) -> str:
    """One of these values. What several begin with is written once, so that a thousand codes are not a thousand ways
    that are open at once."""
    return _one_of(sorted({_json(value) for value in values}), 0)


def _one_of(texts: list[str], depth: int) -> str:
    """``texts`` are in order, so that what the first and the last begin with, all do."""
    pairs = zip(texts[0], texts[-1], strict=False)
    start = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    if len(texts) == 1 or depth == _DEEPEST:
        return " | ".join(map(quoted, texts))
    parts = []
    for _, found in itertools.groupby((text[start:] for text in texts), lambda text: text[:1]):
        parts.append(_one_of(list(found), depth + 1))
    return f"{quoted(texts[0][:start])} ({' | '.join(parts)})"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def string(least: int = 0, most: int | None = None) -> str:
    """A string of so many characters."""
    return f'"\\"" {CHARACTER}{_times(least, most)} "\\""'


def _times(least: int, most: int | None) -> str:
    return f"{{{least},{'' if most is None else most}}}"


def repeated(expression: str, least: int, most: int | None) -> str:
    return f"({expression}){_times(least, most)}"


def integer(least: int | None, most: int | None) -> str:
    """An integer within the bounds, which are at most ``MAX_DIGITS`` digits long; empty where there is none."""
    if least is None and most is None:
        return INTEGER
    end = 10**MAX_DIGITS - 1
    low, high = -end if least is None else least, end if most is None else most
    parts = list(_naturals(max(low, 0), high))
    parts += [f'"-" {one}' for one in _naturals(max(-high, 1), -low)]
    return _any_of(parts)


def number(least: int | None, most: int | None, *, above: bool = False, below: bool = False) -> str:
    """A number within whole bounds, without an exponent; ``above`` and ``below`` leave out the bounds themselves."""
    if least is None and most is None:
        return NUMBER
    end = 10**MAX_DIGITS - 1
    low, high = -end if least is None else least, end if most is None else most
    parts = []
    if high > 0 or (high == 0 and not below):
        parts += _reals(max(low, 0), high, above and low >= 0, below)
    if low < 0:
        parts += [f'"-" {one}' for one in _reals(max(-high, 0), -low, (below and high <= 0) or high >= 0, above)]
    return _any_of(parts)


def _reals(low: int, high: int, above: bool, below: bool) -> list[str]:
    """The numbers from ``low`` to ``high``, neither below 0."""
    if low > high or (low == high and (above or below)):
        return []
    if low == high:
        return [f'{quoted(str(low))} ("." "0")?']
    start = f'{quoted(str(low))} "." [0-9]{{0,14}} [1-9]' if above else f"{quoted(str(low))} {_FRACTION}?"
    inner = [f"({one}) {_FRACTION}?" for one in _naturals(low + 1, high - 1)]
    return [start, *inner, *([] if below else [f'{quoted(str(high))} ("." "0")?'])]


def _any_of(parts: list[str]) -> str:
    return f"({' | '.join(parts)})" if parts else ""


def _naturals(low: int, high: int) -> Iterator[str]:
    """Expressions that together take the decimal numbers from ``low`` to ``high``, which are not below 0."""
    while low <= high:
        last = min(high, 10 ** len(str(low)) - 1)
        yield from _same_length(str(low), str(last))
        low = last + 1


def _same_length(low: str, high: str) -> Iterator[str]:
    if low == high:
        yield quoted(low)
        return
    first, last, rest = int(low[0]), int(high[0]), len(low) - 1
    if first == last:
        yield f"{quoted(low[0])} ({' | '.join(_same_length(low[1:], high[1:]))})"
        return
    if low[1:].strip("0"):
        yield f"{quoted(low[0])} ({' | '.join(_same_length(low[1:], '9' * rest))})"
        first += 1
    full = last + (not high[1:].strip("9"))
    if first < full:
        yield f"[{first}-{full - 1}]" + (f" [0-9]{{{rest}}}" if rest else "")
    if full == last:
        yield f"{quoted(high[0])} ({' | '.join(_same_length('0' * rest, high[1:]))})"
