"""Whether a value satisfies a JSON schema: written from the specification, knowing nothing of grammars."""

from __future__ import annotations

import datetime
import re
import uuid
from typing import Any

KINDS: dict[str, Any] = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def satisfies(value: Any, schema: Any, root: Any = None) -> bool:
    root = schema if root is None else root
    if isinstance(schema, bool):
        return schema
    every = [_holds(value, name, said, schema, root) for name, said in schema.items()]
    return all(every)


def same(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _is(value: Any, kind: str) -> bool:
    if kind in ("integer", "number"):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (kind == "number" or value == int(value))
    return isinstance(value, KINDS[kind])


def _holds(value: Any, name: str, said: Any, schema: Any, root: Any) -> bool:
    if name == "type":
        return any(_is(value, kind) for kind in ([said] if isinstance(said, str) else said))
    if name in ("enum", "const"):
        return any(same(value, one) for one in (said if name == "enum" else [said]))
    if name in ("anyOf", "oneOf", "allOf"):
        held = sum(satisfies(value, one, root) for one in said)
        return held == 1 if name == "oneOf" else held >= (1 if name == "anyOf" else len(said))
    if name == "$ref":
        target = root
        for step in said.split("/")[1:]:
            target = target[step]
        return satisfies(value, target, root)
    if isinstance(value, dict):
        return _object(value, name, said, schema, root)
    if isinstance(value, list):
        return _array(value, name, said, schema, root)
    if isinstance(value, str):
        return _string(value, name, said)
    return _number(value, name, said) if _is(value, "number") else True


def _object(value: Any, name: str, said: Any, schema: Any, root: Any) -> bool:
    if name == "properties":
        return all(satisfies(value[key], one, root) for key, one in said.items() if key in value)
    if name == "additionalProperties":
        return all(satisfies(one, said, root) for key, one in value.items() if key not in schema.get("properties", {}))
    if name == "required":
        return set(said) <= set(value)
    counts = {"minProperties": lambda: len(value) >= said, "maxProperties": lambda: len(value) <= said}
    return counts[name]() if name in counts else True


def _array(value: Any, name: str, said: Any, schema: Any, root: Any) -> bool:
    known = len(schema.get("prefixItems", ()))
    tests = {
        "items": lambda: all(satisfies(one, said, root) for one in value[known:]),
        "prefixItems": lambda: all(satisfies(*pair, root) for pair in zip(value, said, strict=False)),
        "minItems": lambda: len(value) >= said,
        "maxItems": lambda: len(value) <= said,
    }
    return tests[name]() if name in tests else True


def _string(value: str, name: str, said: Any) -> bool:
    tests = {
        "minLength": lambda: len(value) >= said,
        "maxLength": lambda: len(value) <= said,
        "pattern": lambda: re.search(said, value) is not None,
        "format": lambda: _format(value, said),
    }
    return tests[name]() if name in tests else True


def _format(value: str, said: str) -> bool:
    read = {
        "date": datetime.date.fromisoformat,
        "time": datetime.time.fromisoformat,
        "date-time": datetime.datetime.fromisoformat,
        "uuid": uuid.UUID,
    }[said]
    try:
        return bool(read(value)) or True
    except ValueError:
        return False


def _number(value: Any, name: str, said: Any) -> bool:
    tests = {
        "minimum": lambda: value >= said,
        "maximum": lambda: value <= said,
        "exclusiveMinimum": lambda: value > said,
        "exclusiveMaximum": lambda: value < said,
        "multipleOf": lambda: value % said == 0,
    }
    return tests[name]() if name in tests else True
