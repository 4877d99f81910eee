"""On the real engine: what an operator published is read once for everybody, and nothing else ever is."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from lumen_box.catalogue import ModelName
from lumen_box.engine.protocol import Finished, Generate
from lumen_box.engine.sampling import GREEDY
from lumen_box.progress import silent
from lumen_box.usecases import activate, prompts
from lumen_box.usecases.appliance import Appliance
from lumen_box.usecases.running import RunningModel
from tests.support.scene import ACTOR, Scene

WARD = (
    "You help on ward seven. Name the patient, the doctor, the date and the dose, and say where you are not sure. " * 2
)
LEAFLET = "One tablet in the morning, one in the evening, and never two at once, says the leaflet of the box. " * 2
ANNA, BERT = "token:anna", "token:bert"


async def begins_with(model: RunningModel, owner: str, messages: list[dict[str, str]]) -> float:
    """How much of the prompt did not have to be read: from 0 to 1."""
    prompt = await model.render(messages)
    asked = Generate(prompt.text, GREEDY, max_tokens=2, owner=owner, breaks=prompt.breaks)
    async with model.submit(asked) as answer:
        (usage,) = [news.usage async for news in answer if isinstance(news, Finished)]
    return usage.cached_tokens / usage.prompt_tokens


def asks(question: str, system: str = WARD) -> list[dict[str, str]]:
    return [{"role": "system", "content": system}, {"role": "user", "content": question}]


def serving(scene: Scene, work: Callable[[Appliance, RunningModel], Awaitable[None]]) -> None:
    """``work`` with a box on which a prompt was published before its model was loaded."""
    scene.install()

    async def run(appliance: Appliance) -> None:
        prompts.publish(appliance.box, "ward", "system", WARD, ACTOR)
        await activate.activate(appliance, ModelName.parse("clinical"), ACTOR, silent)
        try:
            await work(appliance, await appliance.models.get(None))
        finally:
            await appliance.models.close()

    with scene.appliance() as appliance:
        asyncio.run(asyncio.wait_for(run(appliance), 120))


def test_everybody_begins_with_what_is_published_and_nobody_with_what_another_wrote(scene: Scene) -> None:
    async def work(appliance: Appliance, model: RunningModel) -> None:
        secret = "Mr Brown of room twelve was given three doses too many on Tuesday and nobody may know. " * 3
        assert await begins_with(model, ANNA, asks("How many?")) > 0.6, "even the first to ask"
        assert await begins_with(model, BERT, asks("When was it?")) > 0.6
        assert await begins_with(model, ANNA, asks("Who?", secret)) < 0.1
        assert await begins_with(model, BERT, asks("Who?", secret)) < 0.1, "timing would tell Bert what Anna asked"
        assert await begins_with(model, ANNA, asks("Where?", secret)) > 0.6

        prompts.publish(appliance.box, "leaflet", "document", LEAFLET, ACTOR)
        document = [{"role": "user", "content": LEAFLET + "Is that right?"}]
        assert await begins_with(model, BERT, document) < 0.1, "published, but not shared yet"
        await appliance.models.share()
        assert await begins_with(model, ANNA, document) > 0.6
        prompts.withdraw(appliance.box, "ward", ACTOR)
        await appliance.models.share()
        assert await begins_with(model, "token:carl", asks("How many?")) < 0.1
        assert await begins_with(model, "token:carl", document) > 0.6

    serving(scene, work)


def test_what_is_kept_of_a_token_is_gone_once_it_is_forgotten(scene: Scene) -> None:
    async def work(appliance: Appliance, model: RunningModel) -> None:
        for owner in (ANNA, BERT):
            await begins_with(model, owner, asks("How many?", LEAFLET))
            assert await begins_with(model, owner, asks("How many?", LEAFLET)) > 0.6
        appliance.models.forget(ANNA)
        assert await begins_with(model, ANNA, asks("How many?", LEAFLET)) < 0.1
        assert await begins_with(model, BERT, asks("How many?", LEAFLET)) > 0.6
        appliance.models.forget("")
        assert await begins_with(model, BERT, asks("How many?", LEAFLET)) < 0.1
        assert await begins_with(model, BERT, asks("How many?")) > 0.6, "what is published stays"

    serving(scene, work)


def test_a_worker_that_takes_anothers_place_shares_the_same(scene: Scene, tmp_path: Path) -> None:
    async def work(appliance: Appliance, model: RunningModel) -> None:
        os.kill(model.engine.status().pid, signal.SIGKILL)
        while model.engine.status().restarts == 0 or not model.engine.ready:
            await asyncio.sleep(0.05)
        assert await begins_with(model, ANNA, asks("How many?")) > 0.6

    serving(scene, work)


@pytest.mark.parametrize("owner", ["", ANNA])
def test_an_isolated_request_reuses_and_leaves_nothing(scene: Scene, owner: str) -> None:
    async def work(appliance: Appliance, model: RunningModel) -> None:
        prompt = await model.render(asks("How many?"))
        for isolated, least, most in ((True, 0.0, 0.0), (False, 0.5, 0.95), (True, 0.0, 0.0)):
            asked = Generate(prompt.text, GREEDY, max_tokens=2, owner=owner, isolated=isolated)
            async with model.submit(asked) as answer:
                (usage,) = [news.usage async for news in answer if isinstance(news, Finished)]
            assert least <= usage.cached_tokens / usage.prompt_tokens <= most

    serving(scene, work)
