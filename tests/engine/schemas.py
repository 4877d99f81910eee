"""Schemas that can be kept to: each with JSON that must be possible, and JSON that must not be."""

from __future__ import annotations

from typing import Any

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 4},
                "left": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["name", "left"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}
SHAPES = {
    "oneOf": [
        {"type": "object", "properties": {"kind": {"const": "a"}, "n": {"type": "integer"}}, "required": ["kind"]},
        {"type": "object", "properties": {"kind": {"const": "b"}}, "required": ["kind"]},
        {"type": "null"},
    ]
}
RECORD = {
    "type": "object",
    "title": "Record",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 6, "description": "of the patient"},
        "born": {"type": "string", "format": "date"},
        "age": {"type": ["integer", "null"], "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"enum": ["mild", "severe"]}, "maxItems": 3},
        "score": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}

Case = tuple[Any, list[str], list[str]]
TAKEN: dict[str, Case] = {
    "record": (
        RECORD,
        [
            '{"name":"Ann","age":null}',
            '{"name": "é","born":"2000-02-29","age": 130,"tags": ["mild","mild"],"score":0.5}',
        ],
        [
            *('{"name":"Ann"}', '{"age":1,"name":"A"}', '{"name":"","age":1}', '{"name":"Ann","age":131}', "[]", "{}"),
            *('{"name":"A","age":1,"x":1}', '{"name":"A","age":1,"score":1}'),
            '{"name":"A","born":"1900-02-29","age":1}',
        ],
    ),
    "tree": (TREE, ['{"name":"a","left":{"name":"","left":null}}'], ['{"name":"a"}', '{"name":"a","left":{}}']),
    "shapes": (SHAPES, ['{"kind":"a","n":-7}', '{"kind":"b"}', "null"], ['{"kind":"b","n":1}', '{"kind":"c"}', "{}"]),
    "anything": ({}, ["[1, {}, null]", '{"a":{"b":[]}}', '"x"', "-1.5e3", "true"], ["", "01", "tru", "[1,]", "{a:1}"]),
    "any object": ({"type": "object"}, ["{}", '{"a": 1,\n  "b": []}'], ["[]", "1"]),
    "const": ({"const": {"a": [1, None]}}, ['{"a":[1,null]}'], ['{"a":[1]}', "{}"]),
    "enum": ({"enum": ["a", 1, None, True]}, ['"a"', "1", "null", "true"], ["2", '"b"', "false"]),
    "shared beginnings": (
        {"enum": ["", "a", "ab", "abc", "abd", "b", 1, 12, 120]},
        ['""', '"a"', '"ab"', '"abc"', '"abd"', '"b"', "1", "12", "120"],
        ['"abe"', '"ac"', "10", "2", '"'],
    ),
    "codes": ({"enum": [f"{a}{n:02d}" for a in "ABCDEFGHIJKLMN" for n in range(100)]}, ['"A00"', '"N99"'], ['"O00"']),
    "enum of a type": ({"type": "string", "enum": ["a", 1]}, ['"a"'], ["1"]),
    "optional all": (
        {"properties": {"a": {"type": "null"}, "b": {"type": "null"}, "c": False}},
        ["{}", '{"a":null}', '{"b":null}', '{"a":null,"b":null}'],
        ['{"b":null,"a":null}', '{"c":null}', '{"a":null,}', '{,"b":null}'],
    ),
    "further names": (
        {
            "type": "object",
            "properties": {"ab": {"type": "null"}, "ac": {"type": "null"}, "": {"type": "null"}},
            "additionalProperties": {"type": "integer"},
        },
        ['{"ab":null,"a":1}', '{"abc":2,"b":3}', "{}", '{"ad":1}', '{"ä":1}'],
        ['{"ab":1}', '{"ac":7}', '{"a":null}', '{"\\u0061b":1}', '{"":1}'],
    ),
    "required and unnamed": ({"type": "object", "required": ["x"]}, ['{"x":[]}'], ["{}", '{"y":1}']),
    "map": ({"type": "object", "maxProperties": 2, "minProperties": 1}, ['{"a":1}', '{"a":1,"b":2}'], ["{}"]),
    "pair": (
        {"type": "array", "prefixItems": [{"type": "null"}, {"type": "boolean"}], "items": False, "minItems": 1},
        ["[null]", "[null, true]"],
        ["[]", "[true]", "[null,true,1]"],
    ),
    "head and tail": (
        {"prefixItems": [{"type": "null"}], "items": {"type": "integer"}, "maxItems": 3, "minItems": 2},
        ["[null,1]", "[null,1,2]"],
        ["[null]", "[null,1,2,3]", "[1]"],
    ),
    "no more than two": ({"type": "array", "items": {"const": 1}, "maxItems": 2}, ["[]", "[1]", "[1,1]"], ["[1,1,1]"]),
    "nothing in it": ({"type": "array", "maxItems": 0}, ["[]", "[ ]"], ["[1]"]),
    "length": ({"type": "string", "minLength": 2, "maxLength": 3}, ['"ab"', '"\\n€😀"'], ['"a"', '"abcd"', '"a\nb"']),
    "pattern": (
        {"type": "string", "pattern": "^[A-Z]{2}-\\d+(\\.\\d)?$"},
        ['"AB-12.5"', '"AB-1"'],
        ['"AB-"', '"ab-1"'],
    ),
    "quotes in a pattern": ({"pattern": '^["#-\\\\]"\\\\(?:x|y)$'}, ['"#\\"\\\\x"'], ['"\\"\\"\\\\x"', '"#\\"x"']),
    "time": ({"format": "time"}, ['"23:59:59Z"', '"00:00:00.25+01:30"'], ['"24:00:00Z"', '"12:00:00"']),
    "date-time": ({"format": "date-time"}, ['"1999-12-31T23:59:59Z"'], ['"1999-11-31T00:00:00Z"', '"1999-12-31"']),
    "uuid": ({"format": "uuid"}, ['"123e4567-e89b-12d3-a456-426614174000"'], ['"123e4567"']),
    "between": (
        {"type": "integer", "minimum": -12, "exclusiveMaximum": 205},
        ["-12", "0", "204"],
        ["-13", "205", "1.0"],
    ),
    "ratio": (
        {"type": "number", "exclusiveMinimum": -1, "maximum": 1},
        ["-0.5", "0", "1", "1.0"],
        ["-1", "1.5", "-1.5"],
    ),
    "whole": ({"type": "number", "multipleOf": 1}, ["7"], ["7.5"]),
    "all of": (
        {
            "allOf": [
                {"type": "object", "properties": {"a": {"minimum": 3}}, "required": ["a"]},
                {"properties": {"a": {"type": "integer", "maximum": 5}, "b": {"type": "null"}}},
            ]
        },
        ['{"a":4}', '{"a":3,"b":null}'],
        ["{}", '{"a":6}', '{"a":2}'],
    ),
    "beside anyOf": (
        {
            "type": "object",
            "properties": {"a": {"const": 1}, "b": {"const": 2}},
            "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
        },
        ['{"a":1}', '{"b":2}', '{"a":1,"b":2}'],
        ["{}"],
    ),
    "beside $ref": ({"$defs": {"s": {"type": "string"}}, "$ref": "#/$defs/s", "maxLength": 1}, ['"a"'], ['"ab"', "1"]),
}

# schema, where it is refused, why
REFUSED: list[tuple[Any, str, str]] = [
    (False, "", "allows nothing"),
    ({"type": "object", "patternProperties": {}}, ".patternProperties", "not supported"),
    ({"properties": {"a": {"items": {"not": {}}}}}, ".properties.a.items.not", "not supported"),
    ({"if": {}, "then": {}}, ".if", "not supported"),
    ({"type": "array", "uniqueItems": True}, ".uniqueItems", "cannot be promised"),
    ({"type": "text"}, ".type", "one or several of"),
    ({"type": []}, ".type", "one or several of"),
    ({"enum": []}, ".enum", "not empty"),
    ({"type": "string", "enum": [1]}, "", "allows nothing"),
    ({"enum": ["abc"], "maxLength": 2}, ".maxLength", "combined with `enum`"),
    ({"type": "string", "format": "email"}, ".format", "can only be"),
    ({"type": "string", "format": "date", "maxLength": 3}, ".maxLength", "combined with `format`"),
    ({"type": "string", "minLength": 3, "maxLength": 2}, ".maxLength", "less than"),
    ({"type": "string", "maxLength": 10**9}, ".maxLength", "from 0 to"),
    ({"type": "string", "maxLength": True}, ".maxLength", "from 0 to"),
    ({"pattern": "abc"}, ".pattern", "begin with"),
    ({"pattern": "^a|b$"}, ".pattern", "in a group"),
    ({"pattern": "^(?=a)a$"}, ".pattern", "as groups"),
    ({"pattern": "^(a)\\1$"}, ".pattern", "not taken"),
    ({"pattern": "^a*?$"}, ".pattern", "greedy"),
    ({"pattern": "^" + "(" * 99 + ")" * 99 + "$"}, ".pattern", "too deep"),
    ({"pattern": "^[b-a]$"}, ".pattern", "ends before"),
    ({"pattern": "^(a$"}, ".pattern", "missing|ends too early"),
    ({"type": "integer", "minimum": 5, "maximum": 4}, "", "no number"),
    ({"type": "number", "minimum": 0.5}, ".minimum", "whole number"),
    ({"type": "number", "multipleOf": 0.1}, ".multipleOf", "anything but 1"),
    ({"type": "array", "items": False, "minItems": 1}, ".minItems", "more than there can be"),
    ({"type": "array", "minItems": 2, "maxItems": 1}, ".maxItems", "less than"),
    ({"type": "array", "items": [{}]}, ".items", "must be a schema"),
    ({"properties": {"a": {}}, "minProperties": 1}, ".minProperties", "required properties"),
    ({"type": "object", "minProperties": 2}, ".minProperties", "names are free"),
    ({"required": ["a"], "additionalProperties": False}, ".required", "not allowed to be there"),
    ({"properties": {"a": False}, "required": ["a"]}, ".properties.a", "allows nothing"),
    ({"$ref": "https://example.org/s"}, ".$ref", "into this schema"),
    ({"$ref": "#/$defs/x"}, ".$ref", "leads to nothing"),
    ({"allOf": [{"$ref": "#"}]}, ".allOf[0].allOf[0].$ref", "back to itself"),
    ({"allOf": [{"type": "string"}, {"type": "null"}]}, "", "no type in common"),
    ({"allOf": [{"properties": {"a": {}}, "additionalProperties": False}, {"properties": {"b": {}}}]}, "", "another"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, ".oneOf[1]", "may hold together"),
    ({"oneOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}, ".oneOf[1]", "may hold together"),
    ({"anyOf": [{}] * 65}, ".anyOf", "more than 64"),
    ({"description": "x" * 70_000}, "", "more than 65536 bytes"),
]


def deep(levels: int) -> Any:
    schema: Any = {"type": "null"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema
