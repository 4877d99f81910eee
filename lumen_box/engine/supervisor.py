"""One model, kept running: the gateway's engine.

``start`` loads the model or says why not. From then on a worker that crashes, freezes or talks nonsense is replaced
after a pause that grows with every failure in a row; whoever was waiting for an answer is told at once, in one
sentence, and so is whoever asks during the pause. Nothing is asked again on a client's behalf: an answer half given
cannot be taken back.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from ..config import EngineSettings
from ..errors import Damaged, LumenError, NoModel, UsageError, by_code
from . import protocol
from .machine import available, resident
from .process import Launch, Patience, Weights, Worker
from .protocol import (
    MAX_SHARED,
    MAX_SHARED_TEXT,
    Accepted,
    Cancel,
    Embed,
    Embedded,
    Event,
    Finished,
    Forget,
    Generate,
    Load,
    ModelFacts,
    Queued,
    Refused,
    Role,
    Share,
    Tokenize,
    Tokens,
)

__all__ = ["Answer", "Engine", "Patience", "Status", "Weights", "check"]

State = Literal["stopped", "loading", "ready", "restarting"]
News = Accepted | Queued | Tokens | Finished
VectorNews = Accepted | Embedded | Finished
N = TypeVar("N", News, VectorNews)


@dataclass(frozen=True)
class Status:
    """``percent`` of the weights loaded; ``restarts`` since ``start``; ``steps`` of the present worker, to the last
    beat; ``pid`` as seen from here, 0 for none; ``failure``: why the last worker was lost."""

    state: State
    percent: int
    restarts: int
    running: int
    waiting: int
    steps: int
    pid: int
    facts: ModelFacts | None
    failure: str


class Answer(Generic[N]):
    """One request under way: iterate over its news, or cancel it.

    Iterating gives ``Accepted``, ``Queued``…, ``Tokens``… or ``Embedded``…, ``Finished`` and ends. It raises
    ``TooLong``, ``Busy`` or ``UsageError`` if the worker refuses the request, and ``NoModel`` if the worker is lost in
    the middle. An answer
    that nobody reads any more must be cancelled; used as a context manager it is when the block is left.
    """

    def __init__(self, number: int, cancel: Callable[[int], None]) -> None:
        self.id = number
        self._cancel = cancel
        self._news: asyncio.Queue[N | LumenError] = asyncio.Queue()
        self._ended = False

    def cancel(self) -> None:
        """The worker stops within one step; ``Finished`` with reason ``cancelled`` follows."""
        if not self._ended:
            self._cancel(self.id)

    async def __aiter__(self) -> AsyncIterator[N]:
        while True:
            news = await self._news.get()
            if isinstance(news, LumenError):
                raise news
            yield news
            if isinstance(news, Finished):
                return

    async def __aenter__(self) -> Answer[N]:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.cancel()

    def _tell(self, event: Event | LumenError) -> bool:
        """Takes one event; True if it was the last."""
        match event:
            case Refused(_, code, what, then):
                self._put(by_code().get(code, UsageError)(what, then=then), last=True)
            case Finished(reason="error", message=message, code=code) if code in by_code():
                self._put(by_code()[code](message), last=True)
            case Finished(reason="error", message=message):
                self._put(NoModel(message or "The engine could not go on.", then="Ask again."), last=True)
            case _:
                self._put(event, last=isinstance(event, Finished | LumenError))
        return self._ended

    def _put(self, news: Any, *, last: bool) -> None:
        self._ended = self._ended or last
        self._news.put_nowait(news)


class Engine:
    """Keeps one model loaded in a worker of its own, and routes requests to it. One event loop, no threads.

    Args:
        weights: the object's ciphertext and key.
        settings: how the model runs.
        launch: starts one worker in its sandbox (see ``launch.worker``).
        reasoning: the manifest's markers, if the model has any.
        role: what the model is loaded for.
        memory: how many bytes of RAM the worker may take, asked each time one is started; never more than the first
            time, so that a restart changes nothing that clients were told unless memory has become less.
    """

    def __init__(
        self,
        weights: Weights,
        settings: EngineSettings,
        *,
        launch: Launch,
        reasoning: tuple[str, str] | None = None,
        role: Role = "chat",
        patience: Patience | None = None,
        memory: Callable[[], int] = available,
    ) -> None:
        self._memory = memory
        self._weights, self._launch, self._patience = weights, launch, patience or Patience()
        self._load = Load(weights.object_id, weights.stored_size, settings, reasoning, role=role)
        self._numbers = itertools.count(1)
        self._answers: dict[int, Answer[Any]] = {}
        self._worker: Worker | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._state: State = "stopped"
        self._facts: ModelFacts | None = None
        self._shared: tuple[str, ...] = ()
        self._restarts = 0
        self._failure = ""

    async def start(self) -> ModelFacts:
        """Loads the model; what goes wrong this first time is raised, and nothing is left running.

        Raises:
            Damaged, WrongKey, TooNew, NoSpace: the model cannot be loaded.
            NoModel: the worker did not come up.
        """
        self._state = "loading"
        try:
            facts = await self._begin()
        except BaseException:
            self._state = "stopped"
            raise
        self._keeper = asyncio.create_task(self._keep())
        return facts

    def submit(self, request: Generate) -> Answer[News]:
        """Begins one request. ``NoModel`` while there is no worker to do it."""
        return self._ask(request)

    def embed(self, request: Embed) -> Answer[VectorNews]:
        """Begins a request for embeddings; an ``Embedded`` comes for every input, in no certain order."""
        return self._ask(request)

    def _ask(self, request: Generate | Embed) -> Answer[Any]:
        worker = self._available()
        answer: Answer[Any] = Answer(next(self._numbers), lambda number: worker.send(Cancel(number)))
        self._answers[answer.id] = answer
        worker.send(dataclasses.replace(request, id=answer.id))
        return answer

    async def tokenize(self, text: str, *, add_special: bool = False, parse_special: bool = False) -> tuple[int, ...]:
        """The model's token ids of ``text``."""
        worker = self._available()
        number = next(self._numbers)
        reply = worker.tokens(number)
        worker.send(Tokenize(number, text, add_special, parse_special))
        return await reply

    def share(self, prefixes: tuple[str, ...]) -> None:
        """The whole set of published prefixes, as the template renders them; every worker from now on gets it.

        Raises:
            UsageError: there are too many, or their text is too long.
        """
        if len(prefixes) > MAX_SHARED or sum(map(len, prefixes)) > MAX_SHARED_TEXT:
            raise UsageError(f"More than {MAX_SHARED} prompts or {MAX_SHARED_TEXT} characters cannot be shared.")
        self._shared = prefixes
        self._tell_worker(Share(prefixes))

    def forget(self, owner: str) -> None:
        """Wipes what the worker keeps of this owner's ended answers; of everybody's where ``owner`` is empty."""
        self._tell_worker(Forget(owner))

    def _tell_worker(self, message: Share | Forget) -> None:
        """Says it where there is a worker with a model in it; one that comes later has kept nothing."""
        if self._worker is not None and self.ready:
            self._worker.send(message)

    async def stop(self) -> None:
        """Ends the worker; answers under way fail with ``NoModel``."""
        self._state = "stopped"
        if self._keeper:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._worker:
            await self._worker.close()
        self._fail_answers("The model was unloaded.", then="Ask an operator which model is active.")
        self._worker = self._facts = None

    def status(self) -> Status:
        beat = self._worker.beat if self._worker else protocol.Beat()
        percent = 100 if self._state == "ready" else self._worker.percent if self._worker else 0
        return Status(
            state=self._state,
            percent=percent,
            restarts=self._restarts,
            running=beat.running,
            waiting=beat.waiting,
            steps=beat.steps,
            pid=self._worker.pid if self._worker else 0,
            facts=self._facts,
            failure=self._failure,
        )

    @property
    def under_way(self) -> int:
        """Requests that were begun and have not ended."""
        return len(self._answers)

    @property
    def ready(self) -> bool:
        return self._state == "ready"

    @property
    def facts(self) -> ModelFacts | None:
        return self._facts

    def _available(self) -> Worker:
        if self._worker is None or not self.ready or self._worker.lost.done():
            words = {"stopped": "The model is not loaded.", "loading": "The model is still being loaded."}
            raise NoModel(
                words.get(self._state, "The engine stopped and is being started again."),
                then="Try again in a few seconds.",
            )
        return self._worker

    async def _begin(self) -> ModelFacts:
        """One worker with the model in it, or the error and no worker."""
        self._worker = None
        worker = await Worker.start(self._launch, self._patience, self._hear)
        self._worker = worker
        try:
            most = self._load.memory or sys.maxsize
            self._load = dataclasses.replace(self._load, memory=min(self._memory(), most))
            facts = await worker.load(self._weights, self._load)
            self._facts = dataclasses.replace(facts, resident_bytes=resident(worker.pid))
        except BaseException:
            self._worker = None
            await worker.close()
            raise
        self._state = "ready"
        if self._shared:
            worker.send(Share(self._shared))
        return self._facts

    def _hear(self, event: Event) -> None:
        answer = self._answers.get(event.id)
        if answer and answer._tell(event):
            del self._answers[event.id]

    async def _keep(self) -> None:
        """Waits until the worker is lost, then puts another in its place; for ever."""
        loop = asyncio.get_running_loop()
        pause = self._patience.backoff
        while True:
            born = loop.time()
            if self._worker:
                await self._bury(self._worker)
            if loop.time() - born > self._patience.steady:
                pause = self._patience.backoff
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._patience.longest)
            self._restarts += 1
            try:
                await self._begin()
            except (LumenError, OSError) as error:
                self._failure = str(error)

    async def _bury(self, worker: Worker) -> None:
        self._failure = await worker.lost
        self._state = "restarting"
        self._fail_answers(
            f"{self._failure} This answer is lost; the model is being loaded again.",
            then="Ask again in a few seconds.",
        )
        with contextlib.suppress(OSError):
            await worker.close()

    def _fail_answers(self, what: str, *, then: str) -> None:
        for answer in self._answers.values():
            answer._tell(NoModel(what, then=then))
        self._answers.clear()


async def check(
    weights: Weights,
    settings: EngineSettings,
    *,
    launch: Launch,
    role: Role = "chat",
    patience: Patience | None = None,
) -> ModelFacts:
    """What install asks of a new model: parsed strictly and laid out by llama.cpp in a sandboxed worker that is then
    gone, without its weights being read or memory for them taken.

    Raises:
        Damaged, WrongKey, TooNew, NoModel: as :meth:`Engine.start`; ``Damaged`` also if it takes too long.
    """
    patience = patience or Patience()
    worker = await Worker.start(launch, patience, lambda event: None)
    try:
        async with asyncio.timeout(patience.check):
            load = Load(weights.object_id, weights.stored_size, settings, check_only=True, role=role)
            return await worker.load(weights, load)
    except TimeoutError:
        raise Damaged("Checking the model did not come to an end.", then="Ask its publisher for another one.") from None
    finally:
        await worker.close()
