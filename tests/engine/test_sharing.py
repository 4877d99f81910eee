"""Published prefixes: read once for everybody. And answers that run alone, and the place in the queue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lumen_box.engine import decoder
from lumen_box.engine.kept import Ids
from lumen_box.engine.llama import Model
from tests.engine.bench import Bench, apart, fresh, load, prompt

TOLERANCE = 0.02  # as in test_reuse
PUBLISHED = prompt(77, 200)


@pytest.fixture(scope="module")
def model(gguf: Path) -> Iterator[Model]:
    loaded = load(gguf)
    yield loaded
    loaded.close()


@pytest.fixture
def bench(model: Model) -> Iterator[Bench]:
    made = Bench(model, slots=4)
    yield made
    made.close()


def ids(*prefixes: tuple[int, ...]) -> list[Ids]:
    return [np.array(prefix, np.int32) for prefix in prefixes]


def test_a_published_prefix_is_read_while_there_is_nothing_else_to_do(bench: Bench, model: Model) -> None:
    bench.decoder.share(ids(PUBLISHED))
    assert bench.decoder
    bench.run()
    for seed, owner in enumerate(("nurse", "clerk", "")):
        asked = PUBLISHED + prompt(seed, 20)
        said = bench.answer(owner, asked)
        assert said.cached == 200
        assert apart(said, fresh(model, asked)) < TOLERANCE


def test_many_who_need_it_at_once_wait_for_one_reading(bench: Bench, model: Model) -> None:
    busy = bench.ask("somebody", prompt(1, 10), most=60)
    bench.step()
    bench.decoder.share(ids(PUBLISHED))
    asked = [PUBLISHED + prompt(seed, 20) for seed in range(6)]
    numbers = [bench.ask(f"user {seed}", tokens) for seed, tokens in enumerate(asked)]
    bench.run()
    assert [bench.outcomes[number].cached for number in numbers] == [200] * 6
    assert len(bench.outcomes[busy].ids) == 60
    for number, tokens in zip(numbers, asked, strict=True):
        assert apart(bench.outcomes[number], fresh(model, tokens)) < TOLERANCE


def test_a_prompt_that_only_begins_like_it_uses_what_is_common(bench: Bench, model: Model) -> None:
    bench.decoder.share(ids(PUBLISHED))
    bench.run()
    asked = PUBLISHED[:150] + prompt(1, 30)
    said = bench.answer("nurse", asked)
    assert said.cached == 150
    assert apart(said, fresh(model, asked)) < TOLERANCE


def test_nobody_waits_for_a_prefix_of_which_little_would_be_of_use(bench: Bench) -> None:
    busy = bench.ask("somebody", prompt(1, 10), most=60)
    bench.step()
    bench.decoder.share(ids(PUBLISHED))
    number = bench.ask("nurse", PUBLISHED[:40] + prompt(1, 5))
    bench.step()
    assert bench.decoder.pulse().running == 2
    bench.run()
    assert bench.outcomes[number].cached == 0
    assert len(bench.outcomes[busy].ids) == 60


def test_the_own_conversation_is_preferred_where_it_reaches_further(bench: Bench) -> None:
    bench.decoder.share(ids(PUBLISHED))
    bench.run()
    turn = PUBLISHED + prompt(1, 30)
    said = bench.answer("nurse", turn)
    assert bench.answer("nurse", turn + tuple(said.ids) + prompt(2, 10)).cached == 237


def test_what_is_no_longer_published_is_gone(bench: Bench) -> None:
    bench.decoder.share(ids(PUBLISHED, prompt(5, 100)))
    bench.run()
    bench.decoder.share(ids(prompt(5, 100)))
    assert bench.answer("nurse", PUBLISHED + prompt(1, 20)).cached == 0
    assert bench.answer("nurse", prompt(5, 100) + prompt(1, 20)).cached == 100


def test_withdrawn_while_it_is_read_nobody_waits_in_vain(bench: Bench) -> None:
    bench.decoder.share(ids(PUBLISHED))
    number = bench.ask("nurse", PUBLISHED + prompt(1, 20))
    bench.step()
    bench.decoder.share([])
    bench.run()
    assert bench.outcomes[number].cached == 0
    assert len(bench.outcomes[number].ids) == 8


def test_a_prefix_without_room_is_read_by_each_for_themselves(model: Model) -> None:
    bench = Bench(model, room=100)
    bench.decoder.share(ids(PUBLISHED))
    numbers = [bench.ask(owner, PUBLISHED + prompt(1, 20)) for owner in "ab"]
    bench.run()
    assert [len(bench.outcomes[number].ids) for number in numbers] == [8, 8]
    assert [bench.outcomes[number].cached for number in numbers] == [0, 0]
    bench.close()


def test_a_failed_reading_costs_only_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.decoder.share(ids(PUBLISHED))
    number = bench.ask("nurse", PUBLISHED + prompt(1, 20))
    with monkeypatch.context() as patch:
        patch.setattr(bench.context, "decode", lambda runs: 1)
        bench.step()
    bench.run()
    assert bench.outcomes[number].cached == 0
    assert len(bench.outcomes[number].ids) == 8


def test_an_isolated_answer_is_bit_by_bit_that_of_an_engine_of_its_own(bench: Bench, model: Model) -> None:
    bench.answer("nurse", prompt(1, 100))  # of which nothing may be used
    others = [bench.ask(owner, prompt(seed, 30), most=30) for seed, owner in enumerate("abc")]
    bench.step()
    number = bench.ask("nurse", prompt(1, 100), most=20, isolated=True)
    late = bench.ask("d", prompt(9, 30))
    widths = []
    while bench.decoder:
        bench.step()
        widths.append({one.isolated for one in bench.decoder._scheduler.sequences})
    assert {True, False} not in widths
    assert [len(bench.outcomes[one].ids) for one in (*others, late)] == [30, 30, 30, 8]
    alone, isolated = fresh(model, prompt(1, 100), most=20), bench.outcomes[number]
    assert isolated.cached == 0
    assert [one.logprob for one in isolated.logprobs] == [one.logprob for one in alone.logprobs]
    assert isolated.ids == alone.ids
    turn = prompt(1, 100) + tuple(isolated.ids) + prompt(3, 9)
    assert bench.answer("nurse", turn).cached == 107  # what the first answer left, and nothing more


def test_who_asks_for_isolation_again_and_again_does_not_keep_others_out(bench: Bench) -> None:
    auditor = [bench.ask("auditor", prompt(seed, 20), isolated=True) for seed in range(5)]
    nurse = bench.ask("nurse", prompt(9, 20))
    order = []
    while bench.decoder:
        bench.step()
        order += [n for n in (*auditor, nurse) if bench.outcomes[n].finished and n not in order]
    assert order.index(nurse) == 1


def test_who_waits_is_told_how_many_are_before(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "LOOK_SECONDS", 0.0)
    running = [bench.ask("a", prompt(seed, 5), most=5 + 5 * seed) for seed in range(4)]
    bench.step()
    waiting = [bench.ask("b", prompt(9, 5)) for _ in range(3)]
    bench.run()
    assert [bench.outcomes[number].queued for number in running] == [[], [], [], []]
    assert [bench.outcomes[number].queued for number in waiting] == [[0], [1, 0], [2, 1, 0]]
