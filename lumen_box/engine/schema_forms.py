"""Which keywords of JSON Schema (2020-12) are understood, and what form each must have. Pure.

A keyword that is not understood is refused where it stands, never ignored. Annotations say nothing about values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from .schema_merge import TYPES, Schema, SchemaError
from .schema_values import FORMATS, MAX_DIGITS

MAX_SCHEMA: Final = 64 * 1024  # bytes of JSON
MAX_COUNT: Final = 100_000  # of characters, elements and properties
_SHOWN: Final = 64  # characters of a stranger's name that are repeated to them

ANNOTATIONS: Final = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$schema"}
    | {"$defs", "definitions"}
)
COMBINING: Final = frozenset({"anyOf", "oneOf"})
ANYWHERE: Final = COMBINING | {"type", "enum", "const", "$ref", "allOf"}
_OF_NUMBERS: Final = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
BY_TYPE: Final[dict[str, set[str]]] = {
    "object": {"properties", "required", "additionalProperties", "minProperties", "maxProperties"},
    "array": {"items", "prefixItems", "minItems", "maxItems", "uniqueItems"},
    "string": {"minLength", "maxLength", "pattern", "format"},
    "number": _OF_NUMBERS,
    "integer": _OF_NUMBERS,
    "boolean": set(),
    "null": set(),
}
_KNOWN: Final = ANYWHERE.union(*BY_TYPE.values())

Check = Callable[[Any], bool]


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict | bool)


def _schemas(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_schema, value))


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _types(value: Any) -> bool:
    found = [value] if isinstance(value, str) else value
    return _texts(found) and bool(found) and all(one in TYPES for one in found)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


def _bound(value: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and abs(value) < 10**MAX_DIGITS


def _properties(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_schema, value.values()))


_BOUND: Final = (_bound, f"must be a whole number of at most {MAX_DIGITS} digits")
_COUNT: Final = (_count, f"must be a whole number from 0 to {MAX_COUNT}")
_LIST: Final = (_schemas, "must be an array of schemas, and not empty")
_SCHEMA: Final = (_is_schema, "must be a schema")
_TEXT: Final = (lambda value: isinstance(value, str), "must be a string")
_FORMS: Final[dict[str, tuple[Check, str]]] = {
    "type": (_types, "must be one or several of " + ", ".join(TYPES)),
    "enum": (lambda value: isinstance(value, list) and bool(value), "must be an array, and not empty"),
    "properties": (_properties, "must be an object of schemas"),
    "required": (_texts, "must be an array of strings"),
    "uniqueItems": (lambda value: value is False, "cannot be promised: no grammar can compare elements"),
    "multipleOf": (lambda value: value == 1 and value is not True, "cannot be anything but 1"),
    "format": (lambda value: value in FORMATS, "can only be " + ", ".join(FORMATS)),
    "items": _SCHEMA,
    "additionalProperties": _SCHEMA,
    "$ref": _TEXT,
    "pattern": _TEXT,
    **{name: _LIST for name in ("anyOf", "oneOf", "allOf", "prefixItems")},
    **{name: _COUNT for name in _KNOWN if name[:3] in ("min", "max") and not name.endswith("imum")},
    **{name: _BOUND for name in _KNOWN if name.endswith("imum")},
}


def step(path: str, name: str | int) -> str:
    """The path one step further."""
    return f"{path}[{name}]" if isinstance(name, int) else f"{path}.{name[:_SHOWN]}"


def checked(schema: Any, path: str) -> Schema:
    """The schema without its annotations; ``true`` is one that says nothing.

    Raises:
        SchemaError: a keyword is not understood, or has the wrong form.
    """
    if schema is True:
        return {}
    if schema is False:
        raise SchemaError("allows nothing", path)
    if not isinstance(schema, dict):
        raise SchemaError("must be an object, true or false", path)
    kept = {name: value for name, value in schema.items() if name not in ANNOTATIONS}
    if not path:
        kept.pop("$id", None)
    for name, value in kept.items():
        if name not in _KNOWN:
            raise SchemaError("is not supported in a schema", step(path, name))
        check, words = _FORMS.get(name, (None, ""))
        if check is not None and not check(value):
            raise SchemaError(words, step(path, name))
    return kept
