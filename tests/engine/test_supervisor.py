"""The engine is killed, frozen, or talks nonsense: waiting clients are told plainly, and it comes back by itself."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lumen_box.engine.framing import HEAD, Frames, pack, unpack
from lumen_box.engine.process import Launch, Patience, Process
from lumen_box.engine.protocol import (
    MAX_SHARED,
    MAX_SHARED_TEXT,
    Accepted,
    Beat,
    Forget,
    Generate,
    Load,
    Loaded,
    LoadFailed,
    Loading,
    Ready,
    Share,
    Step,
    Tokens,
    ToWorker,
)
from lumen_box.engine.sampling import GREEDY
from lumen_box.engine.supervisor import Answer, Engine, check
from lumen_box.errors import Damaged, NoModel, NoSpace, UsageError
from tests.engine.support import PATIENCE, SETTINGS, ask, gather, launcher, running, weights
from tests.engine.test_framing import FACTS

ENDLESS = Generate(prompt="Hello", sampling=replace(GREEDY, ignore_eos=True))


async def begun(engine: Engine) -> Answer:
    """A request of which some text has come already."""
    answer = engine.submit(ENDLESS)
    async for news in answer:
        if isinstance(news, Tokens):
            return answer
    raise AssertionError("no token came")


async def back(engine: Engine, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not engine.ready:
        assert time.monotonic() < deadline, engine.status()
        await asyncio.sleep(0.02)


def test_killed_in_the_middle_of_answers_everybody_is_told_and_it_comes_back(stored: Path) -> None:
    async def run() -> None:
        async with running(stored) as engine:
            before = await ask(engine, "Hello")
            answers = [await begun(engine) for _ in range(3)] + [engine.submit(ENDLESS) for _ in range(3)]
            os.kill(engine.status().pid, signal.SIGKILL)
            outcomes = await asyncio.gather(*[gather(answer) for answer in answers], return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [NoModel] * 6
            assert "stopped by itself" in str(outcomes[0])
            assert "Ask again" in str(outcomes[0])
            with pytest.raises(NoModel, match="started again"):
                engine.submit(ENDLESS)
            await back(engine)
            assert engine.status().restarts == 1
            assert (await ask(engine, "Hello")).ids == before.ids
        assert engine.status().state == "stopped"

    asyncio.run(run())


def test_frozen_in_the_middle_of_an_answer_it_is_replaced(stored: Path) -> None:
    async def run() -> None:
        async with running(stored, patience=replace(PATIENCE, silence=2.0)) as engine:
            answer = await begun(engine)
            frozen = engine.status().pid
            os.kill(frozen, signal.SIGSTOP)
            with pytest.raises(NoModel, match="stopped responding"):
                await asyncio.wait_for(gather(answer), 30)
            await back(engine)
            assert engine.status().pid != frozen
            assert not Path(f"/proc/{frozen}").exists()
            assert len((await ask(engine, "Hello")).ids) == 24

    asyncio.run(run())


def test_killed_while_idle_it_comes_back_too(stored: Path) -> None:
    async def run() -> None:
        async with running(stored) as engine:
            for restart in (1, 2, 3):
                os.kill(engine.status().pid, signal.SIGKILL)
                while engine.ready:
                    await asyncio.sleep(0.01)
                await back(engine)
                assert engine.status().restarts == restart
            assert len((await ask(engine, "Hello")).ids) == 24

    asyncio.run(run())


def test_when_the_weights_have_gone_it_keeps_trying_and_says_why(stored: Path, tmp_path: Path) -> None:
    copy = tmp_path / "object"
    copy.write_bytes(stored.read_bytes())

    async def run() -> None:
        async with running(copy) as engine:
            hidden = copy.rename(tmp_path / "hidden")
            os.kill(engine.status().pid, signal.SIGKILL)
            while engine.status().restarts < 3:
                await asyncio.sleep(0.02)
            assert engine.status().state == "restarting"
            assert "No such file" in engine.status().failure
            with pytest.raises(NoModel):
                engine.submit(ENDLESS)
            hidden.rename(copy)
            await back(engine)
            assert len((await ask(engine, "Hello")).ids) == 24

    asyncio.run(run())


def test_the_pause_grows_with_every_failure_in_a_row() -> None:
    """The first start succeeds, every later one fails at once."""
    starts: list[float] = []

    def launch() -> Process:
        starts.append(time.monotonic())
        if len(starts) > 1:
            raise NoModel("It does not start.")
        return Puppet(lambda control: control.sendall(pack(Ready(1)) + pack(Loaded(FACTS))))

    async def run() -> None:
        patience = Patience(silence=0.2, backoff=0.1, longest=0.4)
        async with puppeteer(launch, patience) as engine:
            await engine.start()
            while len(starts) < 5:
                await asyncio.sleep(0.01)

    asyncio.run(run())
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts[1:])]
    assert gaps[0] >= 0.2
    assert gaps[1] >= 0.4
    assert gaps[2] < 1.5


class Puppet:
    """A worker that says what a test wants it to: what a model that took over its worker could do."""

    pid = 0

    def __init__(self, act: Callable[[socket.socket], object], said: str = "") -> None:
        self._said = said
        self.control, self._far = socket.socketpair()
        self._thread = threading.Thread(target=self._run, args=(act,), daemon=True)
        self._thread.start()

    def _run(self, act: Callable[[socket.socket], object]) -> None:
        try:
            act(self._far)
        except OSError:
            return

    def stderr_tail(self) -> str:
        return self._said

    def close(self) -> None:
        self._far.close()


class puppeteer:
    """An engine of puppets, not yet started."""

    def __init__(self, launch: Launch, patience: Patience) -> None:
        self._engine = Engine(weights(Path(__file__)), SETTINGS, launch=launch, patience=patience)

    async def __aenter__(self) -> Engine:
        return self._engine

    async def __aexit__(self, *_: object) -> None:
        await self._engine.stop()


NONSENSE = {
    "no frame at all": b"HTTP/1.1 200 OK\r\n\r\n",
    "a frame of four gigabytes": HEAD.pack(2**32 - 1, 0),
    "no message": HEAD.pack(2, 0) + b"{}",
    "a message of the other direction": pack(ENDLESS),
    "a text where a number belongs": pack(Beat()).replace(b"0,", b"x,", 1),
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE.keys())
def test_a_worker_that_talks_nonsense_is_replaced(nonsense: bytes, stored: Path) -> None:
    puppets = 0

    def launch() -> Process:
        nonlocal puppets
        puppets += 1
        if puppets > 1:
            return launcher()()
        return Puppet(lambda control: (control.sendall(pack(Ready(1)) + pack(Loaded(FACTS))), act(control)))

    def act(control: socket.socket) -> None:
        control.recv(100_000)  # Load
        control.recv(100_000)  # the request
        control.sendall(nonsense)
        control.recv(1)

    async def run() -> None:
        engine = Engine(weights(stored), SETTINGS, launch=launch, patience=PATIENCE)
        await engine.start()
        with pytest.raises(NoModel, match="cannot be right"):
            await asyncio.wait_for(gather(engine.submit(ENDLESS)), 10)
        await back(engine)
        assert len((await ask(engine, "Hello")).ids) == 24
        await engine.stop()

    asyncio.run(run())


def test_the_last_words_of_a_lost_worker_are_in_the_log_and_not_in_the_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = "loading\n" * 100 + "GGML_ASSERT(n < 4) failed\n2026-11-24 INFO forged: all is well\n" + "x" * 5000

    def act(control: socket.socket) -> None:
        control.sendall(pack(Ready(1)) + pack(Loaded(FACTS)))
        control.recv(100_000)  # Load
        control.recv(100_000)  # the request
        control.shutdown(socket.SHUT_RDWR)

    async def run() -> None:
        async with puppeteer(lambda: Puppet(act, said), Patience(silence=30, backoff=30)) as engine:
            await engine.start()
            with pytest.raises(NoModel, match="stopped by itself") as told:
                await asyncio.wait_for(gather(engine.submit(ENDLESS)), 10)
            assert "GGML" not in str(told.value)
            while not caplog.records:
                await asyncio.sleep(0.01)
        async with puppeteer(lambda: Puppet(act, said), Patience(silence=30)) as engine:
            await engine.start()  # and stopped in good order: nothing to say

    asyncio.run(run())
    (record,) = caplog.records
    text = record.getMessage()
    assert text.startswith("The engine stopped by itself.\n  | loading\n")
    assert "\n  | GGML_ASSERT(n < 4) failed\n  | 2026-11-24 INFO forged: all is well\n" in text
    assert len(text.splitlines()) == 21 and max(map(len, text.splitlines())) < 600


def test_news_of_an_unknown_request_harm_nobody() -> None:
    def act(control: socket.socket) -> None:
        control.sendall(pack(Ready(1)) + pack(Loaded(FACTS)))
        control.recv(100_000)
        control.sendall(pack(Step((Accepted(999, 1), Tokens(-5, (1,), "x")))))
        control.recv(100_000)

    async def run() -> None:
        async with puppeteer(lambda: Puppet(act), Patience(silence=30)) as engine:
            await engine.start()
            await asyncio.sleep(0.2)
            assert engine.ready

    asyncio.run(run())


def test_a_step_that_never_ends_is_given_up() -> None:
    """The worker still beats, but the same step goes on and on."""

    def act(control: socket.socket) -> None:
        control.sendall(pack(Ready(1)) + pack(Loaded(FACTS)))
        for tick in range(100):
            control.sendall(pack(Beat(running=1, steps=1, step_seconds=tick / 10)))
            time.sleep(0.05)

    async def run() -> None:
        async with puppeteer(lambda: Puppet(act), Patience(silence=3, step=0.5, backoff=30)) as engine:
            await engine.start()
            with pytest.raises(NoModel, match="did not finish one step"):
                await asyncio.wait_for(gather(engine.submit(ENDLESS)), 10)

    asyncio.run(run())


def test_loading_that_never_ends_is_given_up() -> None:
    def act(control: socket.socket) -> None:
        control.sendall(pack(Ready(1)))
        for percent in range(100):
            control.sendall(pack(Loading(percent)) if percent < 4 else pack(Beat()))
            time.sleep(0.05)

    async def run() -> None:
        patience = Patience(silence=2, step=0.6, check=0.3)
        async with puppeteer(lambda: Puppet(act), patience) as engine:
            with pytest.raises(Damaged, match="while it was loading"):
                await asyncio.wait_for(engine.start(), 10)
        with pytest.raises(Damaged, match="did not come to an end"):
            await check(weights(Path(__file__)), SETTINGS, launch=lambda: Puppet(act), patience=patience)

    asyncio.run(run())


def test_a_held_up_gateway_does_not_take_its_worker_for_frozen(stored: Path) -> None:
    async def run() -> None:
        async with running(stored, patience=replace(PATIENCE, silence=2.5)) as engine:
            time.sleep(4)  # the event loop itself stands still
            await asyncio.sleep(1)
            assert engine.ready
            assert engine.status().restarts == 0

    asyncio.run(run())


def test_a_worker_that_never_gets_ready_is_given_up() -> None:
    async def run() -> None:
        async with puppeteer(lambda: Puppet(lambda control: control.recv(1)), Patience(start=0.3)) as engine:
            with pytest.raises(NoModel, match="in time"):
                await engine.start()
            assert engine.status().state == "stopped"

    asyncio.run(run())


def test_a_start_that_takes_longer_than_a_silence_may_is_no_freeze() -> None:
    def act(control: socket.socket) -> None:
        time.sleep(0.8)
        control.sendall(pack(Ready(1)))
        control.recv(1)
        control.sendall(pack(LoadFailed("no_space", "There is no room.")))
        control.recv(1 << 16)

    async def run() -> None:
        async with puppeteer(lambda: Puppet(act), Patience(start=20, silence=0.2)) as engine:
            with pytest.raises(NoSpace, match="no room"):
                await engine.start()

    asyncio.run(run())


def test_unloading_tells_those_who_wait_and_leaves_no_process(stored: Path) -> None:
    async def run() -> None:
        engine = Engine(weights(stored), SETTINGS, launch=launcher(), patience=PATIENCE)
        with pytest.raises(NoModel, match="not loaded"):
            engine.submit(ENDLESS)
        await engine.start()
        answer, pid = await begun(engine), engine.status().pid
        await engine.stop()
        with pytest.raises(NoModel, match="unloaded"):
            await gather(answer)
        assert not Path(f"/proc/{pid}").exists()
        with pytest.raises(NoModel, match="not loaded"):
            engine.submit(ENDLESS)
        await engine.stop()

    asyncio.run(run())


def test_every_worker_is_told_what_is_published_and_whom_to_forget() -> None:
    """The set that holds, also to one that takes another's place; the ends of access only to whom they concern."""
    heard: list[list[object]] = []

    def launch() -> Process:
        heard.append([])
        return Puppet(act)

    def act(control: socket.socket) -> None:
        mine, frames = heard[-1], Frames()
        control.sendall(pack(Ready(1)) + pack(Loaded(FACTS)))
        while Forget("token:anna") not in mine and (data := control.recv(100_000)):
            mine += [type(said) if isinstance(said, Load) else said for said in told(frames, data)]
        control.close()  # lost, so that another takes its place

    def told(frames: Frames, data: bytes) -> list[ToWorker]:
        return [unpack(body, ToWorker) for body, _ in frames.feed(data)]

    async def until(count: int, words: list[object]) -> None:
        async with asyncio.timeout(20):
            while len(heard) < count or heard[count - 1] != words:
                await asyncio.sleep(0.01)

    async def run() -> None:
        async with puppeteer(launch, PATIENCE) as engine:
            engine.share(("published before it was loaded",))
            await engine.start()
            engine.share(("one", "two"))
            engine.forget("token:anna")
            before = [Share(("published before it was loaded",)), Share(("one", "two")), Forget("token:anna")]
            await until(1, [Load, *before])
            await until(2, [Load, Share(("one", "two"))])
            for too_much in (("x",) * (MAX_SHARED + 1), ("x" * (MAX_SHARED_TEXT + 1),)):
                with pytest.raises(UsageError):
                    engine.share(too_much)
            await engine.stop()
            engine.share(("three",))
            engine.forget("")

    asyncio.run(run())
