"""Who is read next by an embedding model: fair between owners, whatever they bring."""

from __future__ import annotations

import pytest

from lumen_box.engine.turns import Reading, Turns

SLOTS, BUDGET = 4, 64


def turns(*readings: Reading, cut: bool = False, cells: int = 512) -> Turns:
    made = Turns(SLOTS, BUDGET, cells, cut=cut, most=100)
    for reading in readings:
        assert made.add(reading)
    return made


def reading(number: int, owner: str, *sizes: int, priority: int = 0) -> Reading:
    return Reading(number, [[7] * size for size in sizes], priority, owner)


def steps(made: Turns) -> list[list[tuple[int, int, int]]]:
    """Every step until all is read: (reading, first token, end)."""
    told = []
    while any(one.unread for one in made._readings.values()):
        plan = made.plan()
        assert plan, "a step without anything"
        told.append([(piece.reading.id, piece.start, piece.end) for piece in plan])
    return told


@pytest.mark.parametrize("cut", [False, True])
def test_one_short_text_does_not_wait_for_a_thousand(cut: bool) -> None:
    made = turns(reading(1, "crowd", *[60] * 200), reading(2, "one", 10), cut=cut)
    told = steps(made)
    assert any(number == 2 for step in told[:2] for number, _, _ in step)


def test_two_owners_get_equal_shares_however_they_cut_their_requests() -> None:
    made = turns(*(reading(number, "many", *[16] * 10) for number in range(10)), reading(99, "one", *[16] * 100))
    served = {"many": 0, "one": 0}
    for _ in range(10):
        for piece in made.plan():
            served[piece.reading.owner] += piece.end - piece.start
    assert abs(served["many"] - served["one"]) <= 16


def test_urgent_ones_go_first() -> None:
    made = turns(reading(1, "batch", *[32] * 20, priority=5), reading(2, "person", *[32] * 4))
    assert [number for step in steps(made)[:2] for number, _, _ in step] == [2, 2, 2, 2]


def test_a_text_longer_than_a_step_is_read_alone_or_in_pieces() -> None:
    (first, *_) = steps(turns(reading(1, "a", 300)))
    assert first == [(1, 0, 300)]
    pieces = [piece for step in steps(turns(reading(1, "a", 300), cut=True)) for piece in step]
    assert pieces[0] == (1, 0, 64) and pieces[-1][2] == 300


def test_no_step_is_larger_than_it_may_be_and_no_slot_is_given_twice() -> None:
    made = turns(*(reading(number, str(number % 3), 5, 40, 130, 1, 64) for number in range(12)), cut=True)
    while any(one.unread for one in made._readings.values()):
        plan = made.plan()
        assert sum(piece.end - piece.start for piece in plan) <= BUDGET
        assert len({piece.slot for piece in plan}) == len(plan) <= SLOTS


def test_beyond_the_bound_nobody_is_taken_on() -> None:
    made = Turns(SLOTS, BUDGET, 512, cut=False, most=1)
    assert made.add(reading(1, "a", 5)) and not made.add(reading(2, "b", 5))
    made.remove(made._readings[1])
    assert not made and made.add(reading(2, "b", 5))
