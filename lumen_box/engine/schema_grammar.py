"""From a JSON schema to a grammar in GBNF, the start rule being ``root``. Pure.

What the grammar takes satisfies the schema: that is promised. The reverse is not; one way to write a value is enough:

* properties come in the order of the schema, those that are only named in ``required`` last;
* an object with ``properties`` has no others unless ``additionalProperties`` says so;
* without ``type``, a value is of the types that the other keywords speak about;
* white space is at most one line end and some indentation, so that a model cannot write spaces for ever;
* names of further properties are written without escapes, so that none is one of the others in disguise.

``oneOf`` is taken where its schemas visibly exclude each other. Two further properties may still bear the same name.
"""

from __future__ import annotations

import json
from typing import Any, Final

from .gbnf import MAX_GRAMMAR, GrammarError
from .schema_forms import BY_TYPE, COMBINING, MAX_SCHEMA, checked, step
from .schema_lists import array_rules, object_rules
from .schema_merge import TYPES, Schema, SchemaError, apart, key, merge, values
from .schema_pattern import pattern
from .schema_values import CHARACTER, FORMATS, NUMBER, constants, integer, number, string

MAX_DEPTH: Final = 32  # schemas inside each other
MAX_BRANCHES: Final = 64  # of one anyOf or oneOf
MAX_STEPS: Final = 10_000  # schemas that are looked at, one that is referred to each time

_PRELUDE: Final = f"""\
gap ::= (" " | "\\n" " "{{0,20}})?
value ::= object | array | string | number | "true" | "false" | "null"
object ::= "{{" gap (string ":" gap value ("," gap string ":" gap value)* gap)? "}}"
array ::= "[" gap (value ("," gap value)* gap)? "]"
string ::= "\\"" char* "\\""
number ::= {NUMBER}
char ::= {CHARACTER}
"""


def schema_grammar(schema: Any) -> str:
    """The grammar of a schema.

    Raises:
        SchemaError: a keyword cannot be honoured, nothing satisfies the schema, or it is too large.
    """
    if len(json.dumps(schema).encode("utf-8", "replace")) > MAX_SCHEMA:
        raise SchemaError(f"has more than {MAX_SCHEMA} bytes")
    return Writer(schema).text()


class Writer:
    """Collects the rules; equal expressions are one rule."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._names: dict[str, str] = {}
        self._rules: list[str] = []
        self._targets: dict[str, str] = {}
        self._size = self._steps = self._depth = 0

    def text(self) -> str:
        root = self.value(self._schema, "")
        return f"root ::= {root}\n{_PRELUDE}{''.join(self._rules)}"

    def rule(self, expression: str, name: str = "") -> str:
        """The name of a rule for ``expression``."""
        if not name and expression in self._names:
            return self._names[expression]
        name = name or f"r{len(self._rules)}"
        line = f"{name} ::= {expression}\n"
        self._size += len(line.encode("utf-8", "replace"))
        if self._size > MAX_GRAMMAR - 2048:
            raise SchemaError("becomes a grammar that is too large")
        self._rules.append(line)
        self._names[expression] = name
        return name

    def value(self, schema: Any, path: str) -> str:
        """An expression for the values that satisfy ``schema``: the name of a rule, or a few words."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise SchemaError(f"is nested more than {MAX_DEPTH} deep", path)
        found = self._value(checked(schema, path), path)
        self._depth -= 1
        return found

    def _value(self, schema: Schema, path: str) -> str:
        if set(schema) == {"$ref"}:
            return self._referred(schema["$ref"], step(path, "$ref"))
        flat = self.flat(schema, path)
        if COMBINING & set(flat):
            return self._one_of(flat, path)
        return self._plain(flat, path)

    # ---- several schemas at once ----

    def flat(self, schema: Any, path: str = "", inside: tuple[str, ...] = ()) -> Schema:
        """The schema with what it refers to, and with all of its ``allOf``, merged into it."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise SchemaError("refers to itself too often", path)
        found = checked(schema, path)
        parts = [(one, step(step(path, "allOf"), at)) for at, one in enumerate(found.pop("allOf", ()))]
        seen = inside
        if "$ref" in found:
            pointer = found.pop("$ref")
            if pointer in inside or len(inside) >= MAX_DEPTH:
                raise SchemaError("leads back to itself", step(path, "$ref"))
            seen = (*inside, pointer)
            parts.append((self._target(pointer, step(path, "$ref")), path))
        for part, where in parts:
            found = merge(found, self.flat(part, where, seen), path)
        return found

    def _one_of(self, schema: Schema, path: str) -> str:
        """One of several; what stands beside them holds for each."""
        if len(COMBINING & set(schema)) > 1:
            raise SchemaError("has `anyOf` and `oneOf` at once", path)
        name = "anyOf" if "anyOf" in schema else "oneOf"
        others = {word: said for word, said in schema.items() if word != name}
        here = step(path, name)
        if len(schema[name]) > MAX_BRANCHES:
            raise SchemaError(f"holds more than {MAX_BRANCHES} schemas", here)
        branches = [one for one in schema[name] if one is not False]
        if name == "oneOf":
            self._check_apart([merge(others, self.flat(one, here), here) for one in branches], here)
        both = [one if not others else {"allOf": [others, one]} for one in branches]
        written = [self.value(one, step(here, at)) for at, one in enumerate(both)]
        if not written:
            raise SchemaError("allows nothing", here)
        return self.rule(" | ".join(dict.fromkeys(written)))

    def _check_apart(self, branches: list[Schema], path: str) -> None:
        for at, one in enumerate(branches):
            for before in range(at):
                if not apart(branches[before], one, self.flat):
                    raise SchemaError(
                        f"may hold together with [{before}]; where that does no harm, use `anyOf`", step(path, at)
                    )

    # ---- references ----

    def _referred(self, pointer: str, path: str) -> str:
        """The rule of what a reference leads to; it may be used before it is written."""
        if pointer not in self._targets:
            target = self._target(pointer, path)
            name = self._targets[pointer] = f"ref{len(self._targets)}"
            self.rule(self.value(target, path), name)
        return self._targets[pointer]

    def _target(self, pointer: str, path: str) -> Any:
        """What an RFC 6901 pointer into this schema leads to."""
        if pointer != "#" and not pointer.startswith("#/"):
            raise SchemaError("can only lead into this schema (`#/$defs/…`)", path)
        found = self._schema
        for part in pointer.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and name.isascii() and name.isdigit() and int(name[:6]) < len(found):
                found = found[int(name)]
            elif isinstance(found, dict) and name in found:
                found = found[name]
            else:
                raise SchemaError("leads to nothing", path)
        return found

    # ---- one schema ----

    def _plain(self, schema: Schema, path: str) -> str:
        chosen = values(schema)
        if chosen is not None:
            return self._chosen(chosen, schema, path)
        if not schema:
            return "value"
        kinds = _kinds(schema)
        stray = sorted(set(schema) - {"type"} - set().union(*(BY_TYPE[one] for one in kinds)))
        kept = {name: said for name, said in schema.items() if name not in stray}
        written = [self._typed(one, kept, path) for one in kinds]
        return written[0] if len(written) == 1 else self.rule(" | ".join(written))

    def _chosen(self, chosen: list[Any], schema: Schema, path: str) -> str:
        stray = sorted(set(schema) - {"type", "enum", "const"})
        if stray:
            raise SchemaError("cannot be combined with `enum` or `const`", step(path, stray[0]))
        if not chosen:
            raise SchemaError("allows nothing", path)
        return self.rule(constants({key(one): one for one in chosen}.values()))

    def _typed(self, kind: str, schema: Schema, path: str) -> str:
        if kind == "object":
            return object_rules(self, schema, path)
        if kind == "array":
            return array_rules(self, schema, path)
        if kind == "string":
            return self._string(schema, path)
        if kind in ("integer", "number"):
            return self._number(kind, schema, path)
        return '"null"' if kind == "null" else '("true" | "false")'

    def _string(self, schema: Schema, path: str) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        for name in ("pattern", "format"):
            if name in schema:
                others = sorted(set(schema) & BY_TYPE["string"] - {name})
                if others:
                    raise SchemaError(f"cannot be combined with `{name}`", step(path, others[0]))
                return self.rule(f'"\\"" {_inner(name, schema[name], step(path, name))} "\\""')
        if most is not None and most < least:
            raise SchemaError("is less than `minLength`", step(path, "maxLength"))
        return "string" if (least, most) == (0, None) else self.rule(string(least, most).replace(CHARACTER, "char"))

    def _number(self, kind: str, schema: Schema, path: str) -> str:
        least, above = _tighter(schema.get("minimum"), schema.get("exclusiveMinimum"), 1)
        most, below = _tighter(schema.get("maximum"), schema.get("exclusiveMaximum"), -1)
        if kind == "number" and "multipleOf" not in schema:
            found = number(least, most, above=above, below=below)
        else:
            found = integer(None if least is None else least + above, None if most is None else most - below)
        if not found:
            raise SchemaError("leaves no number", path)
        return self.rule(found)


def _kinds(schema: Schema) -> list[str]:
    """The types to write: those that are named, or those that the keywords speak about."""
    said = schema.get("type")
    if said is None:
        return [one for one in TYPES if one != "integer" and BY_TYPE[one] & set(schema)]
    named = [said] if isinstance(said, str) else list(dict.fromkeys(said))
    return [one for one in named if one != "integer" or "number" not in named]


def _inner(name: str, said: str, path: str) -> str:
    try:
        return FORMATS[said] if name == "format" else pattern(said)
    except GrammarError as error:
        raise SchemaError(f"is a pattern that is not taken: {error}", path) from None


def _tighter(inclusive: int | None, exclusive: int | None, sign: int) -> tuple[int | None, bool]:
    """The bound that leaves less, and whether it is left out itself; ``sign`` 1 for a lower bound, -1 for an upper."""
    if exclusive is not None and (inclusive is None or (exclusive - inclusive) * sign >= 0):
        return exclusive, True
    return inclusive, False
