"""A model answers only after it has answered once; whatever fails before leaves what was active active."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lumen_box import errors
from lumen_box.audit import Event
from lumen_box.bundle.medium import Medium
from lumen_box.catalogue import ModelName
from lumen_box.engine import protocol
from lumen_box.engine.sampling import GREEDY
from lumen_box.progress import silent
from lumen_box.publisher.revoke import revoke
from lumen_box.usecases import activate, doctor, media, removal
from lumen_box.usecases.appliance import Appliance
from lumen_box.usecases.box import Box
from tests.support.scene import ACTOR, NOW, SAYS, Scene

LATER = NOW + timedelta(days=1)
ANSWER = "".join(SAYS)


@pytest.fixture
def two(scene: Scene) -> Scene:
    """A box with ``clinical@1.0.0`` and ``clinical@1.1.0`` installed, and none active."""
    scene.install()
    scene.add("1.1.0", now=LATER)
    scene.export(now=LATER)
    scene.install(wanted="clinical@1.1.0")
    return scene


async def answer(appliance: Appliance, name: str | None = None, **more: Any) -> str:
    running = await appliance.models.get(name)
    prompt = await running.render([{"role": "user", "content": "Hello"}])
    news = [one async for one in running.submit(protocol.Generate(prompt.text, GREEDY, max_tokens=32, **more))]
    return "".join(one.text for one in news if isinstance(one, protocol.Tokens))


async def start(appliance: Appliance, name: str, default: bool = False) -> str:
    return (await activate.activate(appliance, ModelName.parse(name), ACTOR, silent, default=default)).version


def test_the_newly_active_version_answers(two: Scene) -> None:
    async def run(appliance: Appliance) -> None:
        with pytest.raises(errors.NoModel) as refused:
            await answer(appliance)
        assert refused.value.exit_code == 31
        assert await start(appliance, "clinical@1.0.0") == "1.0.0"
        assert await answer(appliance) == ANSWER
        assert await answer(appliance, "demo-publisher/clinical") == ANSWER
        grammar = await (await appliance.models.get(None)).grammars.of_schema({"enum": ["yes", "no"]}, "ann")
        assert await answer(appliance, grammar=grammar, split_reasoning=False) in ('"yes"', '"no"')
        assert await start(appliance, "clinical@1.1.0") == "1.1.0"
        assert await answer(appliance, "clinical") == ANSWER
        assert [card.id for card in appliance.models.listing()] == ["demo-publisher/clinical"]
        with pytest.raises(errors.NotFound):
            await answer(appliance, "gpt-4")
        await appliance.models.close()

    with two.appliance() as appliance:
        asyncio.run(run(appliance))
        events = [entry.event for entry in appliance.box.audit.entries() if entry.phase == "outcome"]
        assert events.count(Event.MODEL_ACTIVATED) == 2


def test_rolling_back_and_forth(two: Scene) -> None:
    async def run(appliance: Appliance) -> None:
        await start(appliance, "clinical@1.0.0")
        with pytest.raises(errors.NotFound, match="no version of clinical to go back to"):
            await activate.roll_back(appliance, ModelName("clinical"), ACTOR, silent)
        await start(appliance, "clinical@1.1.0")
        with pytest.raises(errors.UsageError, match="without a version"):
            await activate.roll_back(appliance, ModelName.parse("clinical@1.0.0"), ACTOR, silent)
        for expected in ("1.0.0", "1.1.0"):
            back = await activate.roll_back(appliance, ModelName("clinical"), ACTOR, silent)
            assert back.version == expected
            assert await answer(appliance) == ANSWER
        await appliance.models.close()

    with two.appliance() as appliance:
        asyncio.run(run(appliance))


def spoil(scene: Scene, version: str) -> None:
    """Flips a byte in the middle of a version's stored weights."""
    with scene.appliance() as appliance:
        identity = appliance.box.catalogue.one(ModelName("clinical", version=version), {}).object
    path = scene.home.objects / identity
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_answering(two: Scene) -> None:
    spoil(two, "1.1.0")

    async def run(appliance: Appliance) -> None:
        await start(appliance, "clinical@1.0.0")
        with pytest.raises(errors.Damaged):
            await start(appliance, "clinical@1.1.0")
        assert await answer(appliance) == ANSWER
        await appliance.models.close()

    with two.appliance() as appliance:
        asyncio.run(run(appliance))
        active = appliance.box.catalogue.active()
        assert [(one.version, one.previous) for one in active] == [("1.0.0", None)]


def test_where_two_do_not_fit_the_old_one_comes_back(two: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full just when the pointer is to be moved, with the new version alone in memory."""
    two.home.settings.write_text("[engine]\nparallel = 2\ncontext = 256\ncache_mib = 0\nmemory_mib = 500\n")
    notes: list[str] = []

    async def run(appliance: Appliance) -> None:
        await start(appliance, "clinical@1.0.0")
        first = appliance.models.listing()

        def full(*_: object, **__: object) -> None:
            raise errors.NoSpace("The disk is full.")

        monkeypatch.setattr(appliance.box.catalogue, "activate", full)
        with pytest.raises(errors.NoSpace, match="The disk is full"):
            await activate.activate(
                appliance, ModelName.parse("clinical@1.1.0"), ACTOR, lambda event: notes.append(str(event))
            )
        assert appliance.models.listing() == first
        assert await answer(appliance) == ANSWER
        await appliance.models.close()

    with two.appliance() as appliance:
        asyncio.run(run(appliance))
    assert any("do not fit into memory" in note for note in notes)


def test_a_damaged_active_model_does_not_stop_the_others(two: Scene) -> None:
    two.add("1.0.0", name="letters", now=LATER + timedelta(days=1))
    two.export(now=LATER + timedelta(days=1))
    two.install(wanted="letters@1.0.0")

    async def prepare(appliance: Appliance) -> None:
        await start(appliance, "clinical@1.1.0")
        await start(appliance, "letters@1.0.0")
        await appliance.models.close()

    with two.appliance() as appliance:
        asyncio.run(prepare(appliance))
    spoil(two, "1.1.0")

    async def run(appliance: Appliance) -> None:
        await appliance.models.open()
        assert await answer(appliance, "letters") == ANSWER
        with pytest.raises(errors.NoModel, match=r"clinical@1\.1\.0 is active but not loaded"):
            await answer(appliance, "clinical")
        assert appliance.state() == "ready"
        await appliance.models.close()

    with two.appliance() as appliance:
        asyncio.run(run(appliance))


def test_removing(two: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(appliance: Appliance) -> None:
        record = appliance.box.audit.act
        loops = threading.get_ident()

        def act(*args: Any, **detail: Any) -> Any:
            assert threading.get_ident() != loops, "the event loop waits for the disk"
            return record(*args, **detail)

        await start(appliance, "clinical@1.1.0")
        with pytest.raises(errors.UsageError, match="is active"):
            await removal.remove(appliance, ModelName.parse("clinical@1.1.0"), ACTOR)
        monkeypatch.setattr(appliance.box.audit, "act", act)
        await removal.remove(appliance, ModelName.parse("clinical@1.0.0"), ACTOR)
        assert await answer(appliance) == ANSWER
        await removal.remove(appliance, ModelName.parse("clinical@1.1.0"), ACTOR)
        with pytest.raises(errors.NoModel):
            await answer(appliance)

    with two.appliance() as appliance:
        asyncio.run(run(appliance))
        assert appliance.box.vault.ids("content") == []
        assert appliance.box.catalogue.installed() == []
    assert list(two.home.objects.iterdir()) == []
    assert list(two.home.models.rglob("manifest.json")) == []
    assert two.install(wanted="clinical@1.1.0").fresh, "what was removed can come back from its medium"


@pytest.mark.parametrize("stop", [False, True])
def test_what_is_revoked_with_stop_stops_at_once(scene: Scene, stop: bool, tmp_path: Path) -> None:
    scene.install()

    async def run(appliance: Appliance) -> None:
        await start(appliance, "clinical")
        with scene.publisher(LATER) as workspace:
            revoke(workspace, model="clinical@1.0.0", stop=stop)
        scene.export(tmp_path / "news", now=LATER)
        with Medium.open(tmp_path / "news") as medium:
            media.take_over(appliance, medium, ACTOR)
        stopped = await appliance.models.enforce_revocations()
        if stop:
            assert stopped == ["demo-publisher/clinical@1.0.0"]
            with pytest.raises(errors.NoModel, match="revoked"):
                await answer(appliance)
        else:
            assert stopped == []
            assert await answer(appliance) == ANSWER
        await appliance.models.close()

    with scene.appliance() as appliance:
        asyncio.run(run(appliance))


@pytest.mark.parametrize("stop", [False, True])
def test_the_doctor_tells_what_must_not_run_where_nobody_serves(scene: Scene, stop: bool, tmp_path: Path) -> None:
    scene.install()

    async def run(appliance: Appliance) -> None:
        await start(appliance, "clinical")
        await appliance.models.close()

    with scene.appliance() as appliance:
        asyncio.run(run(appliance))
        with scene.publisher(LATER) as workspace:
            revoke(workspace, model="clinical@1.0.0", stop=stop)
        scene.export(tmp_path / "news", now=LATER)
        with Medium.open(tmp_path / "news") as medium:
            media.take_over(appliance, medium, ACTOR)

    def looked(appliance: Appliance) -> tuple[str, str]:
        (found,) = [found for found in doctor.examine(appliance, serving=False) if found.subject == "models"]
        return found.level, found.what

    with scene.appliance() as appliance:
        level, what = looked(appliance)
        assert (level, "revoked" in what) == (("bad", True) if stop else ("good", False))
    box = Box(scene.home)
    try:
        assert "as far as a sealed box can tell" in looked(Appliance(box))[1]
    finally:
        box.close()


def test_sealing_in_the_middle_of_a_removal_is_said_and_removes_nothing(two: Scene) -> None:
    async def run(appliance: Appliance) -> None:
        await start(appliance, "clinical@1.0.0")
        running = appliance.models.running(*appliance.box.catalogue.installed()[0].key[:2])
        assert running
        held = asyncio.Event()

        async def stop() -> None:
            held.set()
            await asyncio.sleep(60)

        running.stop = stop  # type: ignore[method-assign]
        appliance.box.catalogue.remove(appliance.box.catalogue.installed()[1])
        removing = asyncio.create_task(removal.remove(appliance, ModelName.parse("clinical@1.0.0"), ACTOR))
        await held.wait()
        await appliance.seal(ACTOR)
        with pytest.raises(errors.Interrupted, match="sealed or stopped"):
            await removing

    with two.appliance() as appliance:
        asyncio.run(run(appliance))
    with two.appliance() as appliance:
        assert len(appliance.box.catalogue.installed()) == 2
        assert len(appliance.box.vault.ids("content")) == 2


def test_sealing_in_the_middle_of_an_activation_leaves_nothing_running(two: Scene) -> None:
    async def run(appliance: Appliance) -> None:
        activating = asyncio.create_task(start(appliance, "clinical@1.0.0"))
        while not appliance.models._changer:
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        await appliance.seal(ACTOR)
        with pytest.raises((asyncio.CancelledError, errors.Sealed)):
            await activating
        assert appliance.models.listing() == []

    with two.appliance() as appliance:
        asyncio.run(run(appliance))
        assert appliance.box.catalogue.active() == []


def test_activating_while_what_is_active_is_still_being_loaded(two: Scene) -> None:
    async def prepare(appliance: Appliance) -> None:
        await start(appliance, "clinical@1.0.0")
        await appliance.models.close()

    async def run(appliance: Appliance) -> None:
        appliance.open_models()
        appliance.open_models()
        await asyncio.sleep(0)
        assert await start(appliance, "clinical@1.1.0") == "1.1.0"
        running = await appliance.models.get("clinical")
        assert running.installed.version == "1.1.0"
        await appliance.models.close()

    with two.appliance() as appliance:
        asyncio.run(prepare(appliance))
    with two.appliance() as appliance:
        asyncio.run(run(appliance))


def test_a_pointer_that_cannot_be_moved_leaves_the_old_version_answering(
    two: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(appliance: Appliance) -> None:
        await start(appliance, "clinical@1.0.0")

        def full(*_: object, **__: object) -> None:
            raise errors.NoSpace("The disk is full.")

        monkeypatch.setattr(appliance.box.catalogue, "activate", full)
        with pytest.raises(errors.NoSpace):
            await start(appliance, "clinical@1.1.0")
        running = await appliance.models.get("clinical")
        assert running.installed.version == "1.0.0"
        assert await answer(appliance) == ANSWER
        await appliance.models.close()

    with two.appliance() as appliance:
        asyncio.run(run(appliance))


def test_a_missing_file_does_not_stop_the_other_models(two: Scene) -> None:
    two.add("1.0.0", name="letters", now=LATER + timedelta(days=1))
    two.export(now=LATER + timedelta(days=1))
    two.install(wanted="letters@1.0.0")

    async def prepare(appliance: Appliance) -> None:
        await start(appliance, "clinical@1.1.0")
        await start(appliance, "letters@1.0.0")
        await appliance.models.close()
        identity = appliance.box.catalogue.one(ModelName("clinical", version="1.1.0"), {}).object
        (two.home.objects / identity).unlink()
        await appliance.models.open()
        assert await answer(appliance, "letters") == ANSWER
        with pytest.raises(errors.NoModel, match="cannot be read"):
            await answer(appliance, "clinical")
        await appliance.models.close()

    with two.appliance() as appliance:
        asyncio.run(prepare(appliance))


def test_progress_is_told_and_whoever_leaves_stops_the_loading(two: Scene) -> None:
    from lumen_box.progress import Advance
    from lumen_box.progress import Event as Progress

    def leave(event: Progress) -> None:
        if isinstance(event, Advance):
            raise errors.Interrupted("The client went away.")

    async def run(appliance: Appliance) -> None:
        with pytest.raises(errors.Interrupted):
            await activate.activate(appliance, ModelName.parse("clinical@1.0.0"), ACTOR, leave)
        assert appliance.models.listing() == []

    with two.appliance() as appliance:
        asyncio.run(run(appliance))
        assert appliance.box.catalogue.active() == []
