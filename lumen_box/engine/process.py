"""The gateway's hold on one worker process: start it, hand it a model, hear it, notice that it is gone or frozen.

A worker is *lost* once, with one sentence why. Whoever waited on it then gets that sentence; starting another one is
the supervisor's business. Nothing here trusts the worker: what it says is checked by ``framing``, and a worker that
says something else is killed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from ..errors import Damaged, LumenError, NoModel, by_code
from .framing import HEAD, ProtocolError, pack, sizes, unpack
from .protocol import (
    Beat,
    Event,
    FromWorker,
    Load,
    Loaded,
    LoadFailed,
    Loading,
    ModelFacts,
    Ready,
    Refused,
    Step,
    TokenIds,
    ToWorker,
)

log = logging.getLogger(__name__)

LAST_LINES: Final = 20  # of what a lost worker wrote, in the log
MAX_LINE: Final = 500  # characters of each
LOOKS: Final = 4  # at a silent worker before it is given up

T = TypeVar("T")


class Process(Protocol):
    """What the launcher gives: a started worker, and this end of its control socket. ``close`` kills it."""

    pid: int
    control: socket.socket

    def stderr_tail(self) -> str: ...

    def close(self) -> None: ...


Launch = Callable[[], Process]


@dataclass(frozen=True)
class Weights:
    """Where one object's ciphertext and key come from, each time a worker needs them.

    ``open`` gives a fresh descriptor, open for reading, which is closed here once it was handed over; ``key`` gives the
    32 bytes of the content key from the vault, so that nothing keeps it while no worker loads.
    """

    object_id: str
    stored_size: int
    open: Callable[[], int]
    key: Callable[[], bytes]


@dataclass(frozen=True)
class Patience:
    """Seconds. ``silence``: without a beat a worker is frozen; ``step``: the longest decode step, and the longest pause
    in loading; ``check``: a whole check; ``backoff``: before the first restart, doubled each time up to ``longest``,
    from the beginning again after ``steady``."""

    start: float = 30.0
    silence: float = 10.0
    step: float = 300.0
    check: float = 120.0
    backoff: float = 0.25
    longest: float = 30.0
    steady: float = 60.0


class Worker:
    """One running worker. ``lost`` is done when it is gone; its result is the sentence why."""

    def __init__(self, process: Process, patience: Patience, on_event: Callable[[Event], None]) -> None:
        loop = asyncio.get_running_loop()
        self.beat = Beat()
        self.percent = 0
        self.lost: asyncio.Future[str] = loop.create_future()
        self._process, self._patience, self._on_event = process, patience, on_event
        self._loop, self._silent, self._advanced = loop, 0, loop.time()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._loaded: asyncio.Future[ModelFacts] = loop.create_future()
        self._tokenized: dict[int, asyncio.Future[tuple[int, ...]]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._writer: asyncio.StreamWriter | None = None
        self._why = ""  # it was lost, and nobody has logged that yet

    @classmethod
    async def start(cls, launch: Launch, patience: Patience, on_event: Callable[[Event], None]) -> Worker:
        """A worker that is sandboxed and waits for its model; ``NoModel`` if it does not come up."""
        worker = cls(await asyncio.to_thread(launch), patience, on_event)
        try:
            await worker._listen()
            await worker._until(worker._ready, patience.start)
        except BaseException:
            await worker.close()
            raise
        return worker

    async def load(self, weights: Weights, load: Load) -> ModelFacts:
        """Hands over key and file, waits until the model is loaded.

        Raises:
            LumenError: what the worker found wrong; ``Damaged`` if the model made it crash.
        """
        self._advanced = self._loop.time()
        fd = await asyncio.to_thread(weights.open)
        try:
            # Past asyncio's transport, which cannot send descriptors; nothing else has been written before.
            socket.send_fds(self._process.control, [pack(load, weights.key())], [fd])
        except OSError as error:
            raise self._crash() from error
        finally:
            os.close(fd)
        return await self._until(self._loaded, None)

    def send(self, message: ToWorker) -> None:
        """Queues one message; silently nothing when the worker is already lost."""
        if self._writer and not self.lost.done():
            self._writer.write(pack(message))

    def tokens(self, number: int) -> asyncio.Future[tuple[int, ...]]:
        """What ``Tokenize`` number ``number`` will be answered."""
        return self._tokenized.setdefault(number, self._loop.create_future())

    async def close(self) -> None:
        """Kills the process and waits until it is gone. What one that was lost said last goes into the log."""
        why = self._why
        self._lose("It was stopped.")
        self._why = ""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._writer:
            self._writer.transport.abort()
        await asyncio.to_thread(self._process.close)
        if why:
            log.warning("%s%s", why, self._last_words())

    async def _listen(self) -> None:
        reader, self._writer = await asyncio.open_connection(sock=self._process.control)
        self._tasks = [asyncio.create_task(self._read(reader)), asyncio.create_task(self._watch())]

    async def _until(self, future: asyncio.Future[T], seconds: float | None) -> T:
        """The future's result, unless the worker is lost first."""
        either: set[asyncio.Future[Any]] = {future, self.lost}
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        if self.lost.done():
            raise self._crash()
        raise NoModel("The engine did not start in time.", then="`lumen-box doctor` may say why.")

    def _crash(self) -> LumenError:
        """What a start came to when the worker ended in the middle of it."""
        if not self._ready.done():
            return NoModel("The engine could not be started.", then="`lumen-box doctor` may say why.")
        return Damaged(
            "The engine stopped while it was loading this model.",
            kept="Nothing else is affected.",
            then="Check the model with the publisher.",
        )

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                body, tail = sizes(await reader.readexactly(HEAD.size))
                frame = await reader.readexactly(body + tail)
                self._hear(unpack(frame[:body], FromWorker, frame[body:]))
        except ProtocolError as error:
            self._lose(f"The engine said something that cannot be right: {error}.")
        except (asyncio.IncompleteReadError, OSError):
            self._lose("The engine stopped by itself.")

    def _hear(self, message: FromWorker) -> None:
        self._silent = 0
        match message:
            case Step(events):
                for event in events:
                    self._on_event(event)
            case Beat():
                self.beat = message
            case Loading(percent):
                self.percent, self._advanced = percent, self._loop.time()
            case Ready():
                _settle(self._ready, None)
            case Loaded(facts):
                _settle(self._loaded, facts)
            case LoadFailed(code, what, then):
                _settle(self._loaded, by_code().get(code, LumenError)(what, then=then))
            case TokenIds(number, ids):
                _settle(self._tokenized.pop(number, self._loop.create_future()), ids)
            case Refused(number, code, what, then):
                refusal = by_code().get(code, LumenError)(what, then=then)
                _settle(self._tokenized.pop(number, self._loop.create_future()), refusal)

    async def _watch(self) -> None:
        """A frozen worker is lost as surely as a dead one, only later. Counts looks instead of seconds: when this
        process itself was held up, that is one look."""
        while not self.lost.done():
            await asyncio.sleep(self._patience.silence / LOOKS)
            self._silent += self._ready.done()  # how long a start may take, ``start`` says
            stuck = 0.0 if self._loaded.done() else self._loop.time() - self._advanced
            if self._silent > LOOKS:
                self._lose("The engine stopped responding.")
            elif max(self.beat.step_seconds, stuck) > self._patience.step:
                self._lose("The engine did not finish one step of its work in time.")

    def _lose(self, why: str) -> None:
        """Tells everybody who waits; whoever started the worker closes it."""
        if self.lost.done():
            return
        self.lost.set_result(why)
        self._why = why
        for waiting in self._tokenized.values():
            _settle(waiting, NoModel(why))
        self._tokenized.clear()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _last_words(self) -> str:
        """The end of what the process wrote on stderr, each line marked as its own: for the log, not for a client."""
        return "".join(f"\n  | {line[:MAX_LINE]}" for line in self._process.stderr_tail().splitlines()[-LAST_LINES:])


def _settle(future: asyncio.Future[T], result: T | LumenError) -> None:
    if future.done():
        return
    if isinstance(result, LumenError):
        future.set_exception(result)
        future.exception()  # asked for, so that an unread failure is not reported again
    else:
        future.set_result(result)
