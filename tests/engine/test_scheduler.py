"""Which tokens go into a step. Pure: no engine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumen_box.engine.scheduler import Scheduler
from lumen_box.engine.sequence import Running


def sequence(number: int, prompt: int, priority: int = 0, owner: str = "") -> Running:
    return Running(number, list(range(prompt)), priority, owner)


def step(scheduler: Scheduler) -> list[tuple[int, int]]:
    """Runs one step as the decoder does: (id, tokens) of each chunk, every last one followed by a sampled token."""
    plan = scheduler.plan()
    for chunk in plan:
        assert list(chunk.tokens) == chunk.sequence.tokens[chunk.start : chunk.end]
        assert chunk.start == chunk.sequence.done
        chunk.sequence.done = chunk.end
        if chunk.last:
            chunk.sequence.tokens.append(-1)
    return [(chunk.sequence.id, chunk.end - chunk.start) for chunk in plan]


def test_alone_a_prompt_is_read_in_whole_budgets_then_written_token_by_token() -> None:
    scheduler = Scheduler(4, 8, 10)
    scheduler.add(sequence(1, 18))
    assert [step(scheduler) for _ in range(5)] == [[(1, 8)], [(1, 8)], [(1, 2)], [(1, 1)], [(1, 1)]]


def test_those_who_write_go_first_and_prompts_share_the_rest() -> None:
    scheduler = Scheduler(4, 8, 10)
    scheduler.add(sequence(1, 3))
    step(scheduler)
    scheduler.add(sequence(2, 9))
    scheduler.add(sequence(3, 4))
    assert step(scheduler) == [(1, 1), (2, 3), (3, 4)]
    assert step(scheduler) == [(1, 1), (2, 6), (3, 1)]
    assert step(scheduler) == [(1, 1), (2, 1), (3, 1)]


def test_a_prompt_of_one_token_and_one_of_exactly_the_budget() -> None:
    scheduler = Scheduler(2, 8, 10)
    scheduler.add(sequence(1, 1))
    scheduler.add(sequence(2, 8))
    assert step(scheduler) == [(1, 1), (2, 7)]
    assert step(scheduler) == [(1, 1), (2, 1)]


def test_slots_are_given_out_once_and_again_when_free() -> None:
    scheduler = Scheduler(2, 8, 10)
    sequences = [sequence(number, 2) for number in range(4)]
    for one in sequences:
        assert scheduler.add(one)
    step(scheduler)
    assert [one.slot for one in sequences] == [0, 1, -1, -1]
    assert (scheduler.running, scheduler.waiting) == (2, 2)
    scheduler.remove(sequences[0])
    step(scheduler)
    assert [one.slot for one in sequences] == [0, 1, 0, -1]


def test_the_urgent_go_first_and_equals_in_their_order() -> None:
    scheduler = Scheduler(1, 8, 10)
    sequences = {name: sequence(n, 1, p) for n, (name, p) in enumerate([("a", 5), ("b", 0), ("c", 5), ("d", -1)])}
    for one in sequences.values():
        scheduler.add(one)
    order = []
    while scheduler:
        ((number, _),) = step(scheduler)
        name = list(sequences)[number]
        order.append(name)
        scheduler.remove(sequences[name])
    assert order == ["d", "b", "a", "c"]


def test_one_more_than_may_wait_is_not_taken() -> None:
    scheduler = Scheduler(1, 8, 2)
    assert scheduler.add(sequence(0, 1))
    assert scheduler.add(sequence(1, 1))
    assert not scheduler.add(sequence(2, 1))
    step(scheduler)
    assert scheduler.add(sequence(3, 1))


def test_one_who_waits_can_be_removed() -> None:
    scheduler = Scheduler(1, 8, 10)
    first, second, third = (sequence(number, 1) for number in range(3))
    for one in (first, second, third):
        scheduler.add(one)
    step(scheduler)
    scheduler.remove(second)
    scheduler.remove(first)
    assert step(scheduler) == [(2, 1)]


@pytest.mark.parametrize(("slots", "budget"), [(0, 8), (9, 8)])
def test_a_step_must_have_room_for_everybody(slots: int, budget: int) -> None:
    with pytest.raises(ValueError, match="room"):
        Scheduler(slots, budget, 1)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(1, 4), st.integers(4, 16))
def test_everybody_is_served_within_the_budget(prompts: list[int], slots: int, budget: int) -> None:
    """No step is empty or too large, no token is computed twice or left out, and everyone gets three tokens."""
    scheduler = Scheduler(slots, budget, 100)
    sequences = {number: sequence(number, prompt) for number, prompt in enumerate(prompts)}
    for one in sequences.values():
        scheduler.add(one)
    computed = dict.fromkeys(sequences, 0)
    for _ in range(sum(prompts) + 4 * len(prompts)):
        if not scheduler:
            break
        sizes = step(scheduler)
        assert 0 < sum(size for _, size in sizes) <= budget
        assert len(sizes) == len({number for number, _ in sizes}) <= slots
        for number, size in sizes:
            computed[number] += size
            if sequences[number].generated == 3:
                scheduler.remove(sequences[number])
    assert computed == {number: prompt + 2 for number, prompt in enumerate(prompts)}


def test_a_short_question_is_read_in_one_step_beside_a_long_document() -> None:
    scheduler = Scheduler(4, 8, 10)
    scheduler.add(sequence(1, 100, owner="clerk"))
    step(scheduler)
    scheduler.add(sequence(2, 3, owner="nurse"))
    assert step(scheduler) == [(1, 5), (2, 3)]


def test_ten_documents_of_one_owner_count_as_one() -> None:
    scheduler = Scheduler(8, 8, 10)
    for number in range(4):
        scheduler.add(sequence(number, 100, owner="clerk"))
    scheduler.add(sequence(9, 100, owner="nurse"))
    assert [step(scheduler) for _ in range(4)] == [[(9, 8)], [(9, 8)], [(9, 8)], [(0, 8)]]


def test_a_free_place_goes_to_who_has_fewest() -> None:
    scheduler = Scheduler(2, 8, 10)
    clerk = [sequence(number, 1, owner="clerk") for number in range(4)]
    for one in clerk:
        scheduler.add(one)
    step(scheduler)
    nurse = sequence(9, 1, owner="nurse")
    scheduler.add(nurse)
    scheduler.remove(clerk[0])
    step(scheduler)
    assert (clerk[2].slot, nurse.slot) == (-1, 0)


def test_what_can_wait_is_read_after_everybody_else() -> None:
    scheduler = Scheduler(4, 8, 10)
    scheduler.add(sequence(1, 100, priority=9, owner="night"))
    scheduler.add(sequence(2, 6, owner="nurse"))
    assert step(scheduler) == [(2, 6), (1, 2)]
    assert step(scheduler) == [(2, 1), (1, 7)]


@given(st.lists(st.tuples(st.integers(1, 40), st.sampled_from("abc"), st.integers(0, 1)), min_size=1, max_size=10))
def test_no_budget_is_wasted_while_anything_is_unread(asked: list[tuple[int, str, int]]) -> None:
    scheduler = Scheduler(12, 16, 10)
    for number, (prompt, owner, priority) in enumerate(asked):
        assert scheduler.add(sequence(number, prompt, priority, owner))
    unread = sum(prompt for prompt, _, _ in asked)
    done = dict.fromkeys(range(len(asked)), 0)
    while unread:
        writing = sum(done[number] >= prompt for number, (prompt, _, _) in enumerate(asked))
        read = 0
        for number, size in step(scheduler):
            if done[number] < asked[number][0]:
                done[number] += size
                read += size
        assert read == min(unread, 16 - writing)
        unread -= read
