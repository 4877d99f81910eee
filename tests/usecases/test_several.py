"""Several models in less memory than they all need: real engines, and a sum for all of them in the settings."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from lumen_box import errors
from lumen_box.catalogue import ModelName
from lumen_box.engine import protocol
from lumen_box.engine.sampling import GREEDY
from lumen_box.progress import silent
from lumen_box.usecases import activate, line, status, turns
from lumen_box.usecases.appliance import Appliance
from lumen_box.usecases.describe import show
from tests.support.scene import ACTOR, NOW, SAYS, Scene

LATER = NOW + timedelta(days=1)
ANSWER = "".join(SAYS)
# One worker is reckoned at some 170 MiB and 256 MiB are kept free: one fits, two do not.
ONE_FITS = "[engine]\nparallel = 2\ncontext = 256\ncache_mib = 0\nthreads = 1\nmemory_mib = 500\n"
ALL_FIT = ONE_FITS.replace("500", "1000")


@pytest.fixture
def both(scene: Scene) -> Scene:
    """``clinical`` and ``letters`` are active, and so is the first of two versions of ``clinical``."""
    scene.install()
    scene.add("1.0.0", name="letters", now=LATER)
    scene.add("1.1.0", now=LATER)
    scene.export(now=LATER)
    scene.install(wanted="letters@1.0.0")
    scene.install(wanted="clinical@1.1.0")
    with scene.appliance() as appliance:
        for name in ("clinical@1.0.0", "letters@1.0.0"):
            installed = appliance.box.catalogue.one(ModelName.parse(name), {})
            appliance.box.catalogue.activate(installed, make_default=name.startswith("clinical"))
    return scene


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Turns of a second instead of ten."""
    monkeypatch.setattr(turns, "TURN_SECONDS", 1.0)
    monkeypatch.setattr(turns, "LOADS", 1)
    yield


def within(scene: Scene, settings: str, use: Callable[[Appliance], Awaitable[None]]) -> None:
    scene.home.settings.write_text(settings)

    async def run(appliance: Appliance) -> None:
        await appliance.models.open()
        try:
            async with asyncio.timeout(60):
                await use(appliance)
        finally:
            await appliance.models.close()

    with scene.appliance() as appliance:
        asyncio.run(run(appliance))


async def ask(appliance: Appliance, name: str | None, tokens: int = 32) -> str:
    running = await appliance.models.get(name)
    prompt = await running.render([{"role": "user", "content": "Hello"}])
    news = [one async for one in running.submit(protocol.Generate(prompt.text, GREEDY, max_tokens=tokens))]
    return "".join(one.text for one in news if isinstance(one, protocol.Tokens))


def states(appliance: Appliance) -> dict[str, Any]:
    return {one["name"]: one["state"] for one in status.status(appliance, None)["models"]}


def test_all_are_loaded_where_all_fit_and_shown_as_they_are_laid_out(both: Scene) -> None:
    async def use(appliance: Appliance) -> None:
        assert states(appliance) == {"clinical": "ready", "letters": "ready"}
        shown = status.status(appliance, None)["models"][0]
        assert (shown["parallel"], shown["context"], shown["kv_type"], shown["cache_bytes"]) == (2, 256, "f16", 0)
        assert shown["weights_bytes"] > 0 < shown["kv_bytes"] < shown["memory_bytes"]
        assert shown["since"].startswith("2026-")
        layout = show(appliance, ModelName.parse("clinical@1.0.0")).layout
        assert any("2 sequences at once: as set" in why for why in layout)
        assert not show(appliance, ModelName.parse("clinical@1.1.0")).layout
        names = {sample.name for sample in appliance.samples()}
        assert {"lumen_engine_kv_bytes", "lumen_engine_sequences"} <= names

    within(both, ALL_FIT, use)


def test_one_that_does_not_fit_rests_and_is_loaded_when_somebody_asks(both: Scene) -> None:
    async def use(appliance: Appliance) -> None:
        before = states(appliance)
        assert sorted(before.values()) == ["ready", "resting"]
        resting = next(name for name, state in before.items() if state == "resting")
        assert len(appliance.models.listing()) == 2
        assert await ask(appliance, resting) == ANSWER
        assert states(appliance)[resting] == "ready"
        other = next(name for name in before if name != resting)
        assert states(appliance)[other] == "resting"
        assert await ask(appliance, other) == ANSWER
        assert appliance.models.failures == {}

    within(both, ONE_FITS, use)


def test_two_that_are_asked_without_end_take_turns_and_every_answer_is_whole(both: Scene) -> None:
    async def use(appliance: Appliance) -> None:
        loads = 0
        load = appliance.models.load

        async def counted(key: turns.Key) -> Any:
            nonlocal loads
            loads += 1
            return await load(key)

        appliance.models.load = counted  # type: ignore[method-assign]
        answers: dict[str, list[str]] = {"clinical": [], "letters": []}

        async def client(name: str) -> None:
            while min(map(len, answers.values())) < 10 and len(answers[name]) < 2000:
                answers[name].append(await ask(appliance, name))

        await asyncio.gather(*(client(name) for name in ("clinical", "letters") for _ in range(2)))
        assert all(answer == ANSWER for said in answers.values() for answer in said)
        assert min(map(len, answers.values())) >= 10
        assert loads < sum(map(len, answers.values())) / 4, "they change places with every request"

    within(both, ONE_FITS, use)


def test_what_nobody_may_unload_makes_whoever_asks_come_back(both: Scene) -> None:
    async def use(appliance: Appliance) -> None:
        appliance.models._line._wait = 0.2
        loaded = next(name for name, state in states(appliance).items() if state == "ready")
        resting = next(name for name, state in states(appliance).items() if state == "resting")
        await ask(appliance, loaded)
        with pytest.raises(errors.Busy, match="does not fit into memory beside the models that are in use") as refused:
            while True:
                with contextlib.suppress(line.StillLoading):  # until it has been tried
                    await ask(appliance, resting)
        assert refused.value.retry_after > 0  # type: ignore[attr-defined]
        assert refused.value.exit_code == 32
        assert await ask(appliance, loaded) == ANSWER

    within(both, ONE_FITS + "idle_minutes = 10\n", use)


def test_more_than_may_wait_are_refused_at_once(both: Scene) -> None:
    async def use(appliance: Appliance) -> None:
        resting = next(name for name, state in states(appliance).items() if state == "resting")
        found = await asyncio.gather(*(ask(appliance, resting) for _ in range(5)), return_exceptions=True)
        assert found.count(ANSWER) == 2
        assert sum(isinstance(one, line.OthersBusy) for one in found) == 3

    within(both, ONE_FITS + "[gateway]\nqueue = 2\n", use)


def test_activating_a_version_that_does_not_fit_beside_the_old_one(both: Scene) -> None:
    told: list[str] = []

    async def use(appliance: Appliance) -> None:
        async def change(name: str) -> None:
            await activate.activate(appliance, ModelName.parse(name), ACTOR, lambda event: told.append(str(event)))

        loaded = next(name for name, state in states(appliance).items() if state == "ready")
        await ask(appliance, "clinical")
        await change("clinical@1.1.0")
        assert any("do not fit into memory" in one for one in told), (loaded, told)
        assert await ask(appliance, "clinical") == ANSWER
        assert (await appliance.models.get("clinical")).installed.version == "1.1.0"

    within(both, ONE_FITS, use)


def test_an_activation_unloads_what_nobody_is_using(both: Scene) -> None:
    told: list[str] = []

    async def use(appliance: Appliance) -> None:
        await ask(appliance, "letters")
        before = states(appliance)
        assert before == {"clinical": "resting", "letters": "ready"}
        await activate.activate(
            appliance, ModelName.parse("clinical@1.1.0"), ACTOR, lambda event: told.append(str(event))
        )
        assert any("letters is unloaded to make room" in one for one in told)
        assert states(appliance) == {"clinical": "ready", "letters": "resting"}
        assert await ask(appliance, "letters") == ANSWER

    within(both, ONE_FITS, use)


def test_a_model_that_fits_nowhere_is_a_failure_with_both_numbers(both: Scene) -> None:
    async def use(appliance: Appliance) -> None:
        with pytest.raises(errors.NoModel, match=r"needs \d+ MiB, and 200 MiB are there"):
            await ask(appliance, "clinical")
        assert appliance.state() == "no_model"
        with pytest.raises(errors.NoSpace):
            await activate.activate(appliance, ModelName.parse("clinical@1.1.0"), ACTOR, silent)

    within(both, ONE_FITS.replace("500", "200"), use)


def test_whoever_waits_for_a_model_is_told_when_the_box_is_sealed_meanwhile(both: Scene) -> None:
    async def use(appliance: Appliance) -> None:
        resting = next(name for name, state in states(appliance).items() if state == "resting")
        waiting = asyncio.create_task(ask(appliance, resting))
        while not appliance.models._line.wanted:
            await asyncio.sleep(0)
        await appliance.models.close()
        with pytest.raises(errors.NoModel):
            await waiting
        assert appliance.models.residents() == []

    within(both, ONE_FITS, use)


def test_how_far_a_model_is_loaded_is_shown_while_it_is(both: Scene) -> None:
    seen: list[tuple[dict[str, Any], str, int]] = []

    async def use(appliance: Appliance) -> None:
        await appliance.models.close()

        def look(event: object) -> None:
            first = status.status(appliance, None)["models"][0]
            seen.append((first, appliance.state(), appliance.progress()))

        await activate.activate(appliance, ModelName.parse("clinical@1.0.0"), ACTOR, look)
        assert appliance.state() == "ready"

    within(both, ALL_FIT, use)
    loading = [one for one in seen if one[0]["state"] == "loading"]
    assert loading
    assert all(0 <= model["percent"] <= 100 and state == "loading" for model, state, _ in loading)
    assert all(model["percent"] == percent for model, _, percent in loading)
