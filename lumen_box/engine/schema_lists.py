"""Objects and arrays of a JSON schema as rules of GBNF. Pure; the values inside are written by the ``Rules``.

An object becomes a chain: after each property either the next one that is wanted, or one that may be left out. The
chain exists twice, with and without a comma in front, up to the first property that must be there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

from .schema_forms import step
from .schema_merge import Schema, SchemaError
from .schema_values import constant, letters, repeated

MAX_MEMBERS: Final = 512  # properties of one object, places of one array
_UNESCAPED: Final = '"\\'
_COMMA: Final = '"," gap '


class Rules(Protocol):
    def rule(self, expression: str) -> str: ...
    def value(self, schema: Any, path: str) -> str: ...


@dataclass(frozen=True)
class _Member:
    expression: str
    needed: bool


def object_rules(rules: Rules, schema: Schema, path: str) -> str:
    """An expression for the objects that the schema allows."""
    properties, required = schema.get("properties", {}), set(schema.get("required", ()))
    rest = schema.get("additionalProperties", not properties)
    if properties or required or rest is not True:
        members = _members(rules, properties, schema, rest, path)
        extra = "" if rest is False else _extra(rules, rest, [*properties, *required], path)
        _check_counts(schema, len(members), sum(one.needed for one in members), extra, path)
        return _braces(rules, _chain(rules, members, extra))
    pair = f'string ":" gap {rules.value(True, path)}'
    least, most = schema.get("minProperties", 0), schema.get("maxProperties")
    if least > 1:
        raise SchemaError("cannot be more than 1 where names are free", step(path, "minProperties"))
    return _braces(rules, _listed(rules, pair, least, most, step(path, "maxProperties")))


def _members(rules: Rules, properties: Schema, schema: Schema, rest: Any, path: str) -> list[_Member]:
    required = schema.get("required", [])
    members = []
    for name, one in properties.items():
        if one is False and name not in required:
            continue
        value = rules.value(one, step(step(path, "properties"), name))
        members.append(_Member(f'{constant(name)} ":" gap {value}', name in required))
    for name in dict.fromkeys(one for one in required if one not in properties):
        if schema.get("additionalProperties", True) is False:
            raise SchemaError(f"names `{name[:64]}`, which is not allowed to be there", step(path, "required"))
        value = rules.value(True if rest is False else rest, step(path, "additionalProperties"))
        members.append(_Member(f'{constant(name)} ":" gap {value}', True))
    if len(members) > MAX_MEMBERS:
        raise SchemaError(f"has more than {MAX_MEMBERS} properties", path)
    return members


def _check_counts(schema: Schema, members: int, needed: int, extra: str, path: str) -> None:
    """The number of properties is only bounded where the properties themselves do it."""
    if schema.get("minProperties", 0) > needed:
        raise SchemaError("cannot be more than the number of required properties", step(path, "minProperties"))
    most = schema.get("maxProperties")
    if most is not None and (extra or most < members):
        raise SchemaError("cannot be less than the number of properties", step(path, "maxProperties"))


def _extra(rules: Rules, schema: Any, taken: list[str], path: str) -> str:
    """A further property, under none of the names in ``taken``."""
    value = rules.value(schema, step(path, "additionalProperties"))
    name = f'"\\"" {_other_names(rules, taken)} "\\""' if taken else "string"
    return rules.rule(f'{name} ":" gap {value}')


def _other_names(rules: Rules, taken: list[str]) -> str:
    """Names that are not in ``taken``, letter by letter: after each beginning of one, whatever does not complete it."""
    first: dict[str, list[str]] = {}
    for name in taken:
        if name:
            first.setdefault(name[0], []).append(name[1:])
    ways = [f"{_other(''.join(first))} [^{_quotes()}]*"]
    for letter, names in first.items():
        if letter >= " " and letter not in _UNESCAPED:  # the others cannot be written here anyway
            ways.append(f"{letters(letter)} {_other_names(rules, names)}")
    return rules.rule(" | ".join(([] if "" in taken else ['""']) + ways))


def _quotes() -> str:
    return letters(_UNESCAPED)[1:-1] + "\\x00-\\x1f"


def _other(known: str) -> str:
    return f"[^{letters(known)[1:-1]}{_quotes()}]"


def _chain(rules: Rules, members: list[_Member], extra: str) -> str:
    """The members in order, each needed or not, and any number of ``extra``; empty where nothing can be there."""
    later = f"({_COMMA}{extra})*" if extra else '""'
    start = f"({extra} {later})?" if extra else '""'
    for member in reversed(members):
        after = rules.rule(later)
        if member.needed:
            start = f"{member.expression} {after}"
            later = f"{_COMMA}{member.expression} {after}"
        else:
            start = f"{member.expression} {after} | {rules.rule(start)}"
            later = f"({_COMMA}{member.expression})? {after}"
    if not members and not extra:
        return ""
    inner = rules.rule(start)
    return rules.rule(f"{inner} gap")


def _braces(rules: Rules, inner: str) -> str:
    return rules.rule(f'"{{" gap {inner} "}}"')


# ---- arrays ----


def array_rules(rules: Rules, schema: Schema, path: str) -> str:
    """An expression for the arrays that the schema allows."""
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    places, rest = schema.get("prefixItems", []), schema.get("items", True)
    if most is not None and most < least:
        raise SchemaError("is less than `minItems`", step(path, "maxItems"))
    if len(places) > MAX_MEMBERS:
        raise SchemaError(f"has more than {MAX_MEMBERS} places", path)
    if rest is False or (most is not None and most <= len(places)):
        if least > len(places):
            raise SchemaError("is more than there can be", step(path, "minItems"))
        most, rest = min(len(places), len(places) if most is None else most), False
    item = "" if rest is False else rules.value(rest, step(path, "items"))
    places = places if most is None else places[:most]
    written = [rules.value(one, step(step(path, "prefixItems"), at)) for at, one in enumerate(places)]
    if not written:
        return _brackets(rules, _listed(rules, item, least, most, path) if item else "")
    return _brackets(rules, _placed(rules, written, item, least, most))


def _placed(rules: Rules, places: list[str], item: str, least: int, most: int | None) -> str:
    """The first elements have a schema each; an array may end after ``least`` of them."""
    known = len(places)
    end = '""'
    if item:
        end = repeated(_COMMA + item, max(0, least - known), None if most is None else most - known)
    for at in range(known - 1, 0, -1):
        tail = f"{_COMMA}{places[at]} {rules.rule(end)}"
        end = tail if at < least else f"({tail})?"
    inner = f"{places[0]} {rules.rule(end)} gap"
    return rules.rule(inner if least else f"({inner})?")


def _listed(rules: Rules, item: str, least: int, most: int | None, path: str) -> str:
    """``least`` to ``most`` items with commas between them."""
    if most == 0:
        if least:
            raise SchemaError("allows nothing", path)
        return ""
    more = repeated(_COMMA + item, max(0, least - 1), None if most is None else most - 1)
    return rules.rule(f"{item} {more} gap" if least else f"({item} {more} gap)?")


def _brackets(rules: Rules, inner: str) -> str:
    return rules.rule(f'"[" gap {inner} "]"')
