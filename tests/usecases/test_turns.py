"""Which model goes where not all fit: tables of what is loaded and how it is used, and a long day of two models."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lumen_box.usecases.turns import BESIDE, LOADS, TURN_SECONDS, Resident, next_to_close, next_to_go, share, unused

NOW = 1000.0
OLD = Resident(("p", "old"), loaded=0.0, load_seconds=1.0, used=500.0, busy=False)
NEW = Resident(("p", "new"), loaded=0.0, load_seconds=1.0, used=900.0, busy=False)


@pytest.mark.parametrize(
    ("residents", "idle", "goes"),
    [
        ([], 0, None),
        ([NEW, OLD], 0, "old"),
        ([NEW, replace(OLD, busy=True)], 0, "new"),
        ([replace(NEW, busy=True), replace(OLD, busy=True)], 0, None),
        ([NEW, OLD], 200, "old"),
        ([NEW, OLD], 600, None),
        ([replace(OLD, loaded=NOW - TURN_SECONDS + 1)], 0, None),
        ([replace(OLD, loaded=NOW - 39, load_seconds=10)], 0, None),
        ([replace(OLD, loaded=NOW - 41, load_seconds=10)], 0, "old"),
        ([replace(OLD, loaded=NOW - 1, used=None)], 0, "old"),
        ([replace(NEW, closed=True), OLD], 0, "new"),
        ([replace(NEW, closed=True, busy=True), replace(OLD, busy=True)], 0, None),
        ([replace(OLD, closed=True, used=NOW)], 600, "old"),
    ],
)
def test_who_goes(residents: list[Resident], idle: float, goes: str | None) -> None:
    going = next_to_go(residents, NOW, idle)
    assert (going and going.key[1]) == goes


@pytest.mark.parametrize(
    ("residents", "idle", "closes"),
    [
        ([replace(OLD, busy=True), replace(NEW, busy=True, loaded=10.0)], 0, "old"),
        ([replace(OLD, busy=True, closed=True), replace(NEW, busy=True)], 0, None),
        ([replace(OLD, busy=True, loaded=NOW - 5)], 0, None),
        ([replace(OLD, busy=True, loaded=NOW - 500)], 600, None),
        ([replace(OLD, busy=True, loaded=NOW - 601)], 600, "old"),
    ],
)
def test_who_takes_no_more_requests(residents: list[Resident], idle: float, closes: str | None) -> None:
    closing = next_to_close(residents, NOW, idle)
    assert (closing and closing.key[1]) == closes


def test_an_operator_need_not_wait_for_the_end_of_a_turn() -> None:
    fresh = replace(OLD, loaded=NOW - 1, used=NOW)
    going = unused([fresh], but=("p", "other"))
    assert going is fresh
    assert unused([fresh], but=fresh.key) is None
    assert unused([replace(fresh, busy=True)], but=("p", "other")) is None


def test_loading_takes_at_most_a_fifth_of_the_time() -> None:
    """Two models that exclude each other, both asked without end; loading takes 5 seconds."""
    loading, now, loads, answering = 5.0, 0.0, 0, 0.0
    present = Resident(("p", "a"), loaded=0.0, load_seconds=loading, used=0.0, busy=True)
    turns = {"a": 0.0, "b": 0.0}
    while now < 2000:
        now += 0.5
        answering += 0.5
        turns[present.key[1]] += 0.5
        present = replace(present, used=now, busy=not present.closed)
        if next_to_close([present], now, 0.0):
            present = replace(present, closed=True)
        elif next_to_go([present], now, 0.0):
            now += loading
            loads += 1
            other = "b" if present.key[1] == "a" else "a"
            present = Resident(("p", other), loaded=now, load_seconds=loading, used=now, busy=True)
    assert loads > 50
    assert loads * loading <= now / LOADS
    assert abs(turns["a"] - turns["b"]) <= LOADS * loading + 2


@pytest.mark.parametrize(
    ("available", "mine", "pending", "expected"),
    [
        (20 << 30, 5 << 30, [], 20 << 30),
        (20 << 30, 5 << 30, [5 << 30], 10 << 30),
        (20 << 30, 8 << 30, [2 << 30], 13 << 30),
        (10 << 30, 5 << 30, [5 << 30], 10 << 30),
    ],
)
def test_what_is_still_to_be_loaded_keeps_its_share(
    available: int, mine: int, pending: list[int], expected: int
) -> None:
    assert share(available, mine, pending) == expected
    assert BESIDE + mine <= expected
