"""What a schema becomes: grammars that take what they must, and nothing that breaks the schema."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from lumen_box.engine.gbnf import parse
from lumen_box.engine.grammar import DEAD, Automaton
from lumen_box.engine.schema_grammar import MAX_DEPTH, schema_grammar
from lumen_box.engine.schema_merge import SchemaError
from lumen_box.engine.schema_values import integer, number

from ..support.json_schema import satisfies
from .schemas import REFUSED, TAKEN, Case, deep


def takes(grammar: str, text: str) -> bool:
    automaton = Automaton(parse(grammar))
    return automaton.final(automaton.after(automaton.start, text.encode()))


@pytest.mark.parametrize("case", TAKEN.values(), ids=TAKEN)
def test_a_schema_takes_what_satisfies_it_and_nothing_else(case: Case) -> None:
    schema, possible, impossible = case
    grammar = schema_grammar(schema)
    assert [text for text in possible if not takes(grammar, text)] == []
    assert [text for text in impossible if takes(grammar, text)] == []
    assert all(satisfies(json.loads(text), schema) for text in possible)  # else the table is wrong


@pytest.mark.parametrize("case", TAKEN.values(), ids=TAKEN)
def test_whatever_chance_writes_satisfies_the_schema(case: Case) -> None:
    schema = case[0]
    grammar = parse(schema_grammar(schema))
    written = [_by_chance(Automaton(grammar), random.Random(seed)) for seed in range(25)]
    whole = [text for text in written if text is not None]
    assert whole, "no walk came to an end"
    for text in whole:
        assert satisfies(json.loads(text), schema), text


def _by_chance(automaton: Automaton, dice: random.Random) -> str | None:
    """Some answer that the grammar takes; None where it becomes too long. Prefers bytes that close something."""
    state, text = automaton.start, b""
    while len(text) < 400:
        ways = [byte for byte in range(256) if automaton.row(state)[byte] != DEAD]
        if not ways or (automaton.final(state) and dice.random() < 0.5):
            return text.decode()
        closing = [byte for byte in ways if byte in b'"]}']
        byte = dice.choice(closing if closing and dice.random() < 0.3 else ways)
        text += bytes([byte])
        state, _ = automaton.rest(int(automaton.row(state)[byte]))
    return None


@pytest.mark.parametrize(("schema", "path", "why"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_cannot_be_kept_to_is_refused_by_its_path(schema: Any, path: str, why: str) -> None:
    with pytest.raises(SchemaError, match=why) as caught:
        schema_grammar(schema)
    assert caught.value.path == path


def test_depth_and_size_are_bounded() -> None:
    parse(schema_grammar(deep(MAX_DEPTH - 1)))
    with pytest.raises(SchemaError, match="nested more than 32 deep") as caught:
        schema_grammar(deep(MAX_DEPTH))
    assert caught.value.path == ".items" * MAX_DEPTH
    wide = {"properties": {f"p{number}": {"enum": [f"{number}" * 9, 1]} for number in range(600)}}
    with pytest.raises(SchemaError, match="more than 512 properties"):
        schema_grammar(wide)
    doubling: Any = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)}
    with pytest.raises(SchemaError, match="too often"):
        schema_grammar({"$defs": doubling | {"d30": {"type": "null"}}, "allOf": [{"$ref": "#/$defs/d0"}]})


BOUNDS = [(0, 0), (0, 9), (7, 7), (3, 12), (0, 120), (95, 105), (-5, 5), (-120, -95), (-1, 0), (199, 1001), (-10, 99)]


@pytest.mark.parametrize(("least", "most"), BOUNDS)
def test_bounds_of_integers_are_exact(least: int, most: int) -> None:
    automaton = Automaton(parse(f"root ::= {integer(least, most)}"))
    taken = [n for n in range(least - 150, most + 1200) if automaton.final(automaton.after(automaton.start, b"%d" % n))]
    assert taken == list(range(least, most + 1))
    assert not any(takes(f"root ::= {integer(least, most)}", text) for text in ("-0", "00", "05", "-", "+1"))


@pytest.mark.parametrize(
    ("least", "most"), [(0, 1), (-1, 1), (-3, -1), (2, 2), (-2, 0), (9, 11), (None, 3), (-3, None)]
)
@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize("below", [False, True])
def test_bounds_of_numbers_hold_between_the_whole_ones(
    least: int | None, most: int | None, above: bool, below: bool
) -> None:
    above, below = above and least is not None, below and most is not None
    grammar = number(least, most, above=above, below=below)
    if not grammar:
        assert least == most and (above or below)
        return
    automaton = Automaton(parse(f"root ::= {grammar}"))
    for tenths in range(-45, 125):
        value = tenths / 10
        low = least is None or (value > least if above else value >= least)
        high = most is None or (value < most if below else value <= most)
        for text in {f"{value:.1f}", f"{value:.0f}" if tenths % 10 == 0 else f"{value:.1f}"} - {"-0"}:
            assert automaton.final(automaton.after(automaton.start, text.encode())) == (low and high), text
