"""The one form of JSON that Lumen Box signs, hashes or stores.

ASCII bytes; objects, arrays, strings, integers with a magnitude below 2⁵³, true, false and null; no floats, no
duplicate keys, bounded depth and size. Whatever else arrives is ``Damaged``: Python's own parser would accept
``NaN``, keep the last of two equal keys, and recurse as deep as it is told.

:class:`Fields` reads an object member by member and refuses what is missing, of another type, or unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, TypeVar

from .errors import Damaged, TooNew

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 32

T = TypeVar("T")
S = TypeVar("S", bound=str)

# A string, closed or not, or a bracket. Possessive, so that an unclosed string costs no second look at its bytes.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)


def dumps(value: object) -> bytes:
    """Compact ASCII with sorted keys; the stored bytes are what is hashed, so this is a habit, not a canon."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def loads(data: bytes, *, what: str, max_bytes: int) -> Any:
    """The value in ``data``; ``Damaged`` names ``what`` if it is not exactly one strict JSON value."""
    if len(data) > max_bytes:
        raise Damaged(f"{what} is larger than the {max_bytes} bytes allowed for it.")
    if not data.isascii():
        raise Damaged(f"{what} holds bytes that are not ASCII.")
    if _deepest(data) > MAX_DEPTH:
        raise Damaged(f"{what} is nested deeper than {MAX_DEPTH} levels.")
    try:
        return json.loads(
            data.decode("ascii"),  # or Python would guess an encoding, and find UTF-16
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_refuse,
            parse_constant=_refuse,
        )
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{what} is not the strict JSON that is stored here ({error}).") from error


def _deepest(data: bytes) -> int:
    """Brackets outside strings, counted before anything recurses over them."""
    depth = deepest = 0
    for token in _TOKEN.finditer(data):
        first = token.group()[0]
        if first in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key appears twice")
    return value


def _integer(text: str) -> int:
    if len(text) > 17 or abs(number := int(text)) > MAX_INTEGER:
        raise ValueError("an integer is out of range")
    return number


def _refuse(text: str) -> Any:
    raise ValueError(f"the number {text[:20]} is not an integer")


class Fields:
    """Reads the members of one JSON object and, on :meth:`end`, refuses any that were not asked for.

    An unknown member means that a newer publisher wrote something this version does not understand: ``TooNew``.
    """

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise Damaged(f"{what} is not a JSON object.")
        self._left: dict[str, Any] = dict(value)
        self.what = what

    def take(self, name: str, kind: type[T]) -> T:
        """The member ``name``; a Boolean is not an integer here."""
        if name not in self._left:
            raise Damaged(f"{self.what} lacks the field {name!r}.")
        value = self._left.pop(name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise Damaged(f"The field {name!r} of {self.what} is not of type {kind.__name__}.")
        return value

    def optional(self, name: str, kind: type[T]) -> T | None:
        """The member ``name``, or None where it is absent."""
        return self.take(name, kind) if name in self._left else None

    def text(self, name: str, *, pattern: str = r"[^\x00-\x1f\x7f]*", longest: int = 1024) -> str:
        value = self.take(name, str)
        if len(value) > longest or not re.fullmatch(pattern, value):
            raise Damaged(f"The field {name!r} of {self.what} does not have the required form.")
        return value

    def number(self, name: str, *, least: int = 0, most: int = MAX_INTEGER) -> int:
        value = self.take(name, int)
        if not least <= value <= most:
            raise Damaged(f"The field {name!r} of {self.what} is not between {least} and {most}.")
        return value

    def one_of(self, name: str, known: Iterable[S]) -> S:
        value = self.take(name, str)
        found = next((one for one in known if one == value), None)
        if found is None:
            raise TooNew(
                f"The field {name!r} of {self.what} has a value this version does not know.",
                kept="Nothing was changed.",
                then="Update Lumen Box first, then try again.",
            )
        return found

    def end(self) -> None:
        if self._left:
            raise TooNew(
                f"{self.what} has a field this version does not know: {sorted(self._left)[0][:40]!r}.",
                kept="Nothing was changed.",
                then="Update Lumen Box first, then try again.",
            )
