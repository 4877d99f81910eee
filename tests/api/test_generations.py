"""The numbered log, its readers, the bound on how many, and every way an answer ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from lumen_box.api.authorise import Action
from lumen_box.api.generation import Generation
from lumen_box.api.generations import Bounds, Generations
from lumen_box.api.metrics import GatewayMetrics
from lumen_box.api.ports import Answering
from lumen_box.api.principal import Principal
from lumen_box.api.remembered import Remembered
from lumen_box.clock import Clock
from lumen_box.engine.protocol import Generate
from lumen_box.errors import Interrupted, LumenError, NoModel, NotFound
from lumen_box.schemas.errors import QueueFull, Stopping, Withdrawn

from .fakes import FakeAnswer, Script, hangs, refuses, says
from .gateway import until
from .http import run

ANNA = Principal("token:anna", "token", scopes=frozenset({"chat"}), credential="anna")
LOCAL = Principal("uid:0", "local", roles=frozenset({"administrator"}))
BERT = Principal("token:bert", "token", scopes=frozenset({"chat"}), credential="bert")


class Desk:
    """Generations whose engine is a script; ``answers`` are those the engine was asked for."""

    def __init__(self, places: int = 2, queue: int = 1, still_valid: Callable[[str], bool] = lambda _: True) -> None:
        self.metrics, self.places = GatewayMetrics(), places
        self.forgotten: list[str] = []
        self.generations = Generations(
            lambda: Bounds(self.places, queue), Clock(), self.metrics, still_valid, self.forgotten.append
        )
        self.answers: list[FakeAnswer] = []

    def begin(self, script: Script, owner: Principal = ANNA, *, detached: bool = False) -> Generation:
        async def job(generation: Generation) -> Answering:
            self.answers.append(FakeAnswer(Generate("x"), script))
            return self.answers[-1]

        return self.generations.begin(owner, "clinical", job, detached=detached)


async def text_of(generation: Generation, start: int = 0) -> str:
    return "".join([news.text async for batch in generation.follow(start) for news in batch])


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_readers_follow_from_any_number_each_at_their_own_pace() -> None:
    async def scene() -> None:
        generation = Desk().begin(says("a", "b", "c"))
        first, second = await asyncio.gather(text_of(generation), text_of(generation, 1))
        assert (first, second) == ("abc", "bc")
        assert await text_of(generation, 2) == "c"  # long after the end
        assert await text_of(generation, 3) == ""
        assert (await generation.result()).reason == "stop"

    run(scene())


def test_a_slow_reader_holds_up_nobody() -> None:
    async def scene() -> None:
        generation = Desk().begin(says("a", "b", "c"))
        slow = generation.follow()
        assert [news.text for news in await anext(slow)] == ["a"]
        assert (await generation.result()).reason == "stop"  # the engine did not wait for it
        assert [news.text for news in await anext(slow)] == ["b", "c"]

    run(scene())


def test_a_pause_brings_an_empty_batch() -> None:
    async def scene() -> None:
        generation = Desk().begin(hangs("a"))
        reader = generation.follow(pause=0.01)
        assert [len(await anext(reader)) for _ in range(3)] == [1, 0, 0]
        generation.stop(Interrupted("enough"))

    run(scene())


def test_beyond_the_bound_the_answer_is_no_at_once() -> None:
    async def scene() -> None:
        desk = Desk(places=2, queue=1)
        running = [desk.begin(hangs()) for _ in range(3)]
        with pytest.raises(QueueFull) as full:
            desk.begin(hangs())
        assert full.value.status == 429 and full.value.retry_after >= 1
        await settled()
        assert len(desk.answers) == 3 and desk.metrics.rejected.values == {(): 1}
        running[0].stop(Interrupted("left"))
        await settled()
        assert await text_of(desk.begin(says("free"))) == "free"

    run(scene())


def test_the_bound_follows_the_models_that_are_loaded() -> None:
    async def scene() -> None:
        desk = Desk(places=1, queue=1)
        for owner in (ANNA, BERT):
            desk.begin(hangs(), owner)
        with pytest.raises(QueueFull):
            desk.begin(hangs(), BERT)
        desk.places = 3
        desk.begin(hangs(), BERT)
        desk.generations.stop_all(Interrupted("enough"))
        await settled()

    run(scene())


def test_nobody_alone_takes_every_place() -> None:
    async def scene() -> None:
        desk = Desk(places=2, queue=6)
        for _ in range(6):
            desk.begin(hangs(), ANNA)
        with pytest.raises(QueueFull, match="6 of them yours"):
            desk.begin(hangs(), ANNA)
        for _ in range(2):
            desk.begin(hangs(), BERT)
        with pytest.raises(QueueFull, match="8 requests are being answered or waiting, 2 of them yours"):
            desk.begin(hangs(), BERT)
        desk.generations.stop_all(Interrupted("enough"))
        await settled()

    run(scene())


def test_waiting_means_that_the_engine_has_not_accepted_it() -> None:
    async def scene() -> None:
        desk = Desk()
        queued, accepted = desk.begin(hangs(accepted=False)), desk.begin(hangs())
        await settled()
        assert desk.generations.waiting == 1 and len(desk.generations.live) == 2
        await accepted.accepted()
        queued.stop(Interrupted("left while queued"))
        with pytest.raises(Interrupted, match="queued"):
            await queued.accepted()
        await settled()
        assert desk.answers[0].cancelled.is_set() and not desk.answers[1].cancelled.is_set()

    run(scene())


@pytest.mark.parametrize(
    ("script", "raised", "text"),
    [
        (says("a", end=NoModel("The engine stopped.")), NoModel, "a"),
        (refuses(NoModel("The model is not loaded.")), NoModel, ""),
        (hangs("a"), Interrupted, "a"),
    ],
)
def test_how_an_answer_ends_badly(script: Script, raised: type[LumenError], text: str) -> None:
    async def scene() -> None:
        desk = Desk()
        generation = desk.begin(script)
        await settled()
        desk.generations.stop_all(Interrupted("sealed"))  # no effect on what has ended already
        assert await text_of(generation) == text
        with pytest.raises(raised):
            await generation.result()
        assert not desk.generations.live

    run(scene())


def test_an_engine_that_just_falls_silent_is_an_error() -> None:
    async def silent(answer: object) -> object:
        return
        yield

    async def scene() -> None:
        with pytest.raises(LumenError, match="without saying why"):
            await Desk().begin(silent).result()  # type: ignore[arg-type]

    run(scene())


def test_withdrawn_access_ends_what_runs_under_it_and_nothing_else() -> None:
    async def scene() -> None:
        desk = Desk()
        anna, bert = desk.begin(hangs("a"), ANNA), desk.begin(hangs("b"), BERT)
        await settled()
        assert desk.generations.end_of("anna") == 1
        with pytest.raises(Withdrawn):
            await anna.result()
        await settled()
        assert desk.answers[0].cancelled.is_set() and not bert.done
        assert desk.forgotten == ["token:anna"]

    run(scene())


def test_what_is_kept_of_a_token_goes_with_it_also_when_nothing_runs() -> None:
    valid = {"anna", "bert"}
    now = [0.0]

    async def scene() -> None:
        desk = Desk(still_valid=lambda identity: identity in valid)
        desk.generations._clock = replace(Clock(), monotonic=lambda: now[0])
        for owner in (ANNA, BERT, LOCAL):
            await desk.begin(says("a"), owner).result()
        desk.generations.end_of("anna")
        assert desk.forgotten == ["token:anna"]
        valid.clear()
        now[0] = 10.0
        await until(lambda: desk.forgotten == ["token:anna", "token:bert"])
        now[0] = 20.0
        await asyncio.sleep(0.6)
        assert len(desk.forgotten) == 2, "it is said once"

    run(scene())


def test_who_has_not_asked_for_long_is_no_longer_looked_up() -> None:
    asked: list[str] = []
    remembered = Remembered(lambda identity: not asked.append(identity), lambda owner: None)  # type: ignore[func-returns-value]
    remembered.note(ANNA, 0.0)
    for now in (10.0, 11.0, 1000.0, 2000.0):
        remembered.look(now)
    assert asked == ["anna", "anna"], "once at 10 seconds, for the last time at 1,000"


def test_a_token_that_expires_ends_its_streams_within_a_second() -> None:
    valid = {"anna", "bert"}

    async def scene() -> None:
        desk = Desk(still_valid=lambda identity: identity in valid)
        anna, bert = desk.begin(hangs("a"), ANNA), desk.begin(hangs("b"), BERT)
        valid.remove("anna")
        async with asyncio.timeout(1.0):
            with pytest.raises(Withdrawn):
                await anna.result()
        assert not bert.done
        bert.stop(Interrupted("end"))

    run(scene())


def test_the_owner_finds_a_detached_generation_again_and_others_find_nothing() -> None:
    async def scene() -> None:
        desk = Desk()
        generation = desk.begin(says("a", "b"), ANNA, detached=True)
        await generation.result()
        again = desk.generations.get(generation.id, ANNA)
        assert await text_of(again, 1) == "b"
        for other in (BERT, Principal("uid:0", "local", roles=frozenset({"administrator"}))):
            for action in (Action.FOLLOW, Action.CANCEL):
                with pytest.raises(NotFound):
                    desk.generations.get(generation.id, other, action)
        with pytest.raises(NotFound):
            desk.generations.get("0" * 24, ANNA)

    run(scene())


def test_a_detached_generation_is_forgotten_after_a_while() -> None:
    now = [0.0]

    async def scene() -> None:
        desk = Desk()
        desk.generations._clock = replace(Clock(), monotonic=lambda: now[0])
        generation = desk.begin(says("a"), detached=True)
        await generation.result()
        await settled()
        now[0] = 301.0
        await asyncio.sleep(0.7)
        with pytest.raises(NotFound):
            desk.generations.get(generation.id, ANNA)

    run(scene())


def test_shutting_down_lets_answers_finish_then_ends_them_plainly() -> None:
    async def scene() -> None:
        desk = Desk()
        finishing, endless = desk.begin(says("a")), desk.begin(hangs("b"))
        await desk.generations.close(grace=0.05)
        assert (await finishing.result()).reason == "stop"
        with pytest.raises(Stopping):
            await endless.result()
        with pytest.raises(Stopping):
            desk.begin(says("late"))
        assert desk.answers[1].cancelled.is_set()

    run(scene())


def test_cancelling_reaches_the_engine_while_the_prompt_is_still_being_rendered() -> None:
    async def scene() -> None:
        desk = Desk()
        asked = []

        async def job(generation: Generation) -> Answering:
            await asyncio.sleep(3600)
            asked.append(1)
            raise AssertionError

        generation = desk.generations.begin(ANNA, "clinical", job)
        await settled()
        generation.stop(Interrupted("left"))
        await settled()
        assert not asked and not desk.generations.live

    run(scene())


def test_one_that_ends_before_it_began_leaves_nothing_behind() -> None:
    async def scene() -> None:
        desk = Desk()
        generation = desk.begin(hangs())
        generation.stop(Interrupted("left at once"))
        await settled()
        assert not desk.answers and generation.ended is not None
        with pytest.raises(NotFound):
            desk.generations.get(generation.id, ANNA)

    run(scene())
