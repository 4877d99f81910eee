"""Reading beside writing, simulated: a machine on which every pass through the weights costs what it was measured to.

The costs are those of two processor cores and 268 million parameters in Q8_0; only their proportions matter here.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from lumen_box.engine.pace import FRESH, Load, Pace
from lumen_box.engine.scheduler import QUICK, Scheduler
from lumen_box.engine.sequence import Chunk, Running

PASS, TOKEN, FEW, FAR = 0.007, 0.0022, 0.0008, 2.5e-7  # seconds
BUDGET = 512


def passes(plan: Sequence[Chunk]) -> list[int]:
    """The tokens of each pass that llama.cpp makes of a step: neighbouring slots, equally many tokens of each."""
    left = {chunk.sequence.slot: chunk.end - chunk.start for chunk in plan}
    made = []
    while left:
        run = [min(left)]
        while run[-1] + 1 in left:
            run.append(run[-1] + 1)
        length = min(min(left[slot] for slot in run), max(1, BUDGET // len(run)))
        made.append(length * len(run))
        left = {slot: rest - length * (slot in run) for slot, rest in left.items() if rest - length * (slot in run)}
    return made


def seconds(plan: Sequence[Chunk]) -> float:
    weights = sum(PASS + TOKEN * rows + FEW * min(rows, 32) for rows in passes(plan))
    return weights + sum(FAR * chunk.start * (chunk.end - chunk.start) for chunk in plan)


@dataclass
class Machine:
    """Runs a scheduler in simulated time. ``said`` are the times of each sequence's tokens."""

    paced: bool = True
    slots: int = 32
    now: float = 0.0
    said: dict[int, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pace = Pace()
        self.pace.took(1, 0, PASS + TOKEN + FEW)  # as in the decoder's warm-up
        self.scheduler = Scheduler(self.slots, BUDGET, 1000, pace=self.pace if self.paced else None)

    def ask(self, number: int, prompt: int, owner: str = "") -> None:
        self.said[number] = []
        assert self.scheduler.add(Running(number, [0] * prompt, owner=owner))

    def step(self, most: int) -> None:
        plan = self.scheduler.plan()
        took = seconds(plan)
        self.now += took
        decoding = sum(chunk.sequence.decoding for chunk in plan)
        reading = sum(chunk.end - chunk.start for chunk in plan) - decoding
        self.pace.took(decoding, reading, took, len(plan) - decoding)
        for chunk in plan:
            chunk.sequence.done = chunk.end
            if chunk.last:
                chunk.sequence.tokens.append(0)
                self.said[chunk.sequence.id].append(self.now)
                if chunk.sequence.generated == most:
                    self.scheduler.remove(chunk.sequence)

    def run(self, most: int) -> None:
        while self.scheduler:
            self.step(most)

    def gaps(self, numbers: Sequence[int], after: float = 0.0, before: float = 1e9) -> list[float]:
        return sorted(
            late - early
            for number in numbers
            for early, late in zip(self.said[number], self.said[number][1:], strict=False)
            if after <= early and late <= before
        )


def crowd(clients: int, *, paced: bool, owners: int, rounds: int = 3) -> Machine:
    """So many clients, each asking again as soon as it has its answer of 64 tokens to 165."""
    machine = Machine(paced)
    for number in range(clients):
        machine.ask(number, 165, f"owner {number % owners}")
    number = clients
    while machine.scheduler:
        before = machine.scheduler.running + machine.scheduler.waiting
        machine.step(64)
        for _ in range(before - machine.scheduler.running - machine.scheduler.waiting):
            if number < clients * rounds:
                machine.ask(number, 165, f"owner {number % owners}")
                number += 1
    return machine


def test_many_short_questions_lose_no_throughput_to_the_pace() -> None:
    for clients in (1, 8, 32):
        for owners in (1, clients):
            free, paced = (crowd(clients, paced=paced, owners=owners) for paced in (False, True))
            assert paced.now <= 1.06 * free.now, (clients, owners, paced.now, free.now)


def test_first_tokens_come_one_after_the_other_instead_of_all_at_the_end() -> None:
    machine = Machine()
    for number in range(32):
        machine.ask(number, 165, f"owner {number}")
    machine.run(64)
    firsts = sorted(times[0] for times in machine.said.values())
    assert statistics.median(firsts) < 0.65 * firsts[-1]


def test_nobody_pauses_twice_as_long_because_a_document_is_read() -> None:
    machine = Machine()
    for number in range(7):
        machine.ask(number, 100, f"user {number}")
    for _ in range(200):
        machine.step(10_000)
    quiet = machine.now
    machine.ask(99, 8000, "clerk")
    while not machine.said[99]:
        machine.step(10_000)
    calm = machine.gaps(range(7), quiet / 2, quiet)
    busy = machine.gaps(range(7), quiet)
    assert busy[int(0.99 * len(busy))] <= 2 * calm[int(0.99 * len(calm))]
    assert machine.now - quiet < 8 * seconds_alone(8000)  # the document is not forgotten either


def seconds_alone(prompt: int) -> float:
    machine = Machine()
    machine.ask(1, prompt)
    machine.run(1)
    return machine.now


def test_a_short_question_is_not_slowed_down_by_a_document() -> None:
    machine = Machine()
    machine.ask(1, 50, "nurse")
    for _ in range(5):
        machine.step(10_000)
    machine.ask(2, 8000, "clerk")
    for _ in range(9):
        machine.step(10_000)
    asked = machine.now
    machine.ask(3, QUICK, "porter")
    while not machine.said[3]:
        machine.step(10_000)
    assert machine.now - asked < 1.5 * seconds_alone(QUICK)


def test_questions_without_end_do_not_starve_a_document() -> None:
    machine = Machine()
    machine.ask(0, 3000, "clerk")
    for number in range(1, 400):
        machine.ask(number, 165, f"user {number}")
        machine.step(8)
        if machine.said[0]:
            break
    assert machine.said[0]


def test_the_cost_of_decoding_is_measured_before_it_is_weighed_and_again_later() -> None:
    pace = Pace()
    load = Load(decoding=4, crowd=1.0)
    assert pace.allowed(load) == 0
    pace.took(1, 0, 0.02)
    assert pace.allowed(load) == 0, "one is not about four"
    pace.took(4, 0, 0.12)
    assert pace.allowed(load) == 1
    pace.took(4, 10, 0.12 + 0.02 + 10 * 0.002)
    assert 49 <= pace.allowed(load) <= 50
    assert 37 <= pace.allowed(Load(4, 0.1)) <= 38
    assert 169 <= pace.allowed(Load(4, 3.0)) <= 170
    assert pace.allowed(Load(6, 1.0)) > pace.allowed(load), "six are about four"
    for _ in range(FRESH):
        pace.took(4, 50, 0.2)
    assert pace.allowed(load) == 0


def test_the_budget_follows_a_prompt_whose_later_tokens_cost_more() -> None:
    pace = Pace()
    pace.took(1, 0, 0.02)
    pace.took(2, 0, 0.12)
    pace.took(2, 40, 0.14 + 40 * 0.002)
    for _ in range(20):
        pace.took(2, 20, 0.14 + 20 * 0.004)
    assert 24 <= pace.allowed(Load(2, 1.0)) <= 26


def test_where_a_pass_is_dear_and_tokens_are_cheap_a_pass_is_not_wasted_on_a_few() -> None:
    """As on a GPU: everything costs one reading of the weights, whether for one token or for a hundred."""
    pace = Pace()
    pace.took(1, 0, 0.010)
    pace.took(7, 0, 0.011)
    chunk = 1
    for _ in range(20):
        pace.took(7, chunk, 0.021 + chunk * 0.00002)
        chunk = pace.allowed(Load(7, 1 / 7))
    assert 60 <= chunk <= 160


def test_people_are_counted_and_requests_where_there_is_only_one() -> None:
    def some(*owners: str) -> list[Running]:
        return [Running(number, [0], owner=owner) for number, owner in enumerate(owners)]

    assert Load.of(some("a"), some("b")) == Load(1, 1.0)
    assert Load.of(some("a"), some("b", "b", "b")) == Load(1, 1.0)
    assert Load.of(some("a", "b"), some("c")) == Load(2, 0.5)
    assert Load.of(some("a"), some("a", "a", "a")) == Load(1, 3.0)
