"""Several JSON schemas that hold at once as one, and schemas of which at most one can hold. Pure.

A schema here is *flat*: no ``$ref`` and no ``allOf`` at its top, and no annotations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final

from .gbnf import GrammarError

Schema = dict[str, Any]
TYPES: Final = ("object", "array", "string", "number", "integer", "boolean", "null")
_LARGER: Final = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_SMALLER: Final = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})
_DEEPEST: Final = 8  # properties of properties that are looked at to tell two schemas apart


class SchemaError(GrammarError):
    """The schema cannot be turned into a grammar; ``path`` is where, as in ``.properties.age.not``."""

    def __init__(self, why: str, path: str = "") -> None:
        super().__init__(why)
        self.path = path


def key(value: Any) -> str:
    """The same text for values that JSON Schema takes for equal, such as 1 and 1.0, and another for 1 and true."""

    def plain(one: Any) -> Any:
        if isinstance(one, float) and one.is_integer():
            return int(one)
        if isinstance(one, list):
            return [plain(part) for part in one]
        return {name: plain(part) for name, part in one.items()} if isinstance(one, dict) else one

    return json.dumps(plain(value), sort_keys=True)


def kind(value: Any) -> str:
    """The narrowest type of a value."""
    for name, kinds in (("null", type(None)), ("boolean", bool), ("integer", int), ("string", str), ("array", list)):
        if isinstance(value, kinds):
            return name
    return "number" if isinstance(value, float) else "object"


def types(schema: Schema) -> set[str]:
    """The types that ``type`` allows; ``number`` includes ``integer``."""
    said = schema.get("type", TYPES)
    found = {said} if isinstance(said, str) else set(said)
    return found | {"integer"} if "number" in found else found


def values(schema: Schema) -> list[Any] | None:
    """What ``const`` and ``enum`` leave, of the right type; None where neither is there."""
    if "const" not in schema and "enum" not in schema:
        return None
    found = [schema["const"]] if "const" in schema else schema["enum"]
    if "const" in schema and "enum" in schema and key(schema["const"]) not in map(key, schema["enum"]):
        return []
    allowed = types(schema)
    return [one for one in found if kind(one) in allowed or (kind(one) == "number" and "number" in allowed)]


def merge(one: Schema, other: Schema, path: str) -> Schema:
    """A schema for what both allow. ``SchemaError`` where this module knows none."""
    _check_closed(one, other, path)
    _check_closed(other, one, path)
    merged = dict(one)
    for name, value in other.items():
        merged[name] = _both(name, merged[name], value, path) if name in merged else value
    return merged


def _both(name: str, one: Any, other: Any, path: str) -> Any:
    if name == "type":
        return _types_of_both({"type": one}, {"type": other}, path)
    if name == "properties":
        shared = {each: {"allOf": [one[each], other[each]]} for each in one if each in other}
        return one | other | shared
    if name == "required":
        return list(dict.fromkeys([*one, *other]))
    if name == "enum":
        known = set(map(key, other))
        return [each for each in one if key(each) in known]
    if name in _LARGER or name in _SMALLER:
        return max(one, other) if name in _LARGER else min(one, other)
    if name in ("items", "additionalProperties"):
        return {"allOf": [one, other]}
    if key(one) == key(other):
        return one
    raise SchemaError(f"`{name}` differs between schemas that must hold at once, and cannot be combined", path)


def _types_of_both(one: Schema, other: Schema, path: str) -> list[str]:
    left = types(one) & types(other)
    if not left:
        raise SchemaError("its parts allow no type in common", path)
    return [name for name in TYPES if name in left and (name != "integer" or "number" not in left)]


def _check_closed(one: Schema, other: Schema, path: str) -> None:
    """``additionalProperties`` speaks of the properties beside it alone, which one merged schema cannot."""
    if one.get("additionalProperties", True) is True:
        return
    if not set(other.get("properties", ())) <= set(one.get("properties", ())):
        raise SchemaError("`additionalProperties` of one part would hold for the properties of another", path)


# ---- which of several holds ----

Flat = Callable[[Any], Schema]


def apart(one: Schema, other: Schema, flat: Flat, depth: int = 0) -> bool:
    """Whether what is written for one never satisfies the other, both ways. False also where that is not known."""
    if not types(one) & types(other):
        return True
    these, those = values(one), values(other)
    if these is not None and those is not None:
        return not set(map(key, these)) & set(map(key, those))
    if types(one) | types(other) != {"object"} or depth >= _DEEPEST:
        return False
    return _never(one, other, flat, depth) and _never(other, one, flat, depth)


def _never(written: Schema, judge: Schema, flat: Flat, depth: int) -> bool:
    """Whether no object written for one schema satisfies the other."""
    mine, theirs = written.get("properties", {}), judge.get("properties", {})
    needed = set(written.get("required", ()))
    closed = written.get("additionalProperties", not mine) is False
    if closed and not set(judge.get("required", ())) <= set(mine) | needed:
        return True
    if judge.get("additionalProperties") is False and not needed <= set(theirs):
        return True
    shared: Iterable[str] = (name for name in mine if name in needed and name in theirs)
    return any(apart(flat(mine[name]), flat(theirs[name]), flat, depth + 1) for name in shared)
