"""All generations of this gateway: how many there may be, who may see which, and how they are ended.

Beyond the bound the answer is ``QueueFull``, at once. Nobody alone takes all places, so that one token that asks
without end leaves room for everybody else. A generation whose token expires or is revoked ends within
``SWEEP_SECONDS``, and what the engines kept of that token's answers is wiped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..clock import Clock
from ..engine.protocol import Tokens
from ..errors import Interrupted, LumenError, NotFound
from ..schemas.errors import QueueFull, Stopping, Withdrawn
from .authorise import Action, authorise
from .generation import Generation
from .metrics import GatewayMetrics
from .ports import Answering
from .principal import Principal
from .remembered import Remembered
from .responses import unexpected

KEPT_SECONDS = 300.0  # a detached generation that ended can be read for so long
SWEEP_SECONDS = 0.5  # how often ended tokens and kept generations are looked for
MAX_RETRY_SECONDS = 60
REMEMBERED = 32  # durations of past generations, to guess when to come back

Job = Callable[[Generation], Awaitable[Answering]]  # renders the prompt and asks the engine


@dataclass(frozen=True)
class Bounds:
    """``places``: sequences the engine decodes at once; ``queue``: how many more may wait."""

    places: int
    queue: int

    @property
    def total(self) -> int:
        return self.places + self.queue

    @property
    def of_one(self) -> int:
        """How many one owner may have: a quarter stays for the others."""
        return self.total - self.total // 4


class Generations:
    """All generations of this gateway. ``bounds`` follow the models that are loaded, and so are asked for each time."""

    def __init__(
        self,
        bounds: Callable[[], Bounds],
        clock: Clock,
        metrics: GatewayMetrics,
        still_valid: Callable[[str], bool] = lambda _: True,
        forget: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._bounds, self._clock, self._metrics, self._still_valid = bounds, clock, metrics, still_valid
        self._remembered = Remembered(still_valid, forget)
        self._all: dict[str, Generation] = {}
        self._durations: deque[float] = deque(maxlen=REMEMBERED)
        self._sweeper: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def live(self) -> list[Generation]:
        return [one for one in self._all.values() if not one.done]

    @property
    def stopping(self) -> bool:
        return self._stopping

    @property
    def waiting(self) -> int:
        """How many the engine has not taken on yet."""
        return sum(one.prompt_tokens is None for one in self.live)

    def begin(self, owner: Principal, model: str, job: Job, *, priority: int = 0, detached: bool = False) -> Generation:
        """Starts ``job``. Raises ``QueueFull`` or ``Stopping`` without having started anything."""
        if self._stopping:
            raise _stopping()
        live = self.live
        theirs = sum(one.owner.id == owner.id for one in live)
        bounds = self._bounds()
        if len(live) >= bounds.total or theirs >= bounds.of_one:
            self._metrics.rejected.add()
            raise self._full(len(live), theirs)
        now = self._clock.monotonic()
        created = int(self._clock.now().timestamp())
        generation = Generation(owner, model, now, created, priority, detached)
        self._all[generation.id] = generation
        self._remembered.note(owner, now)
        generation.task = asyncio.get_running_loop().create_task(self._run(generation, job))
        generation.task.add_done_callback(lambda _: self._finish(generation))  # also if it is cancelled before it runs
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep())
        return generation

    def get(self, identity: str, principal: Principal, action: Action = Action.FOLLOW) -> Generation:
        """The generation ``identity``; one of somebody else is ``NotFound`` like one that never was."""
        generation = self._all.get(identity)
        if generation is not None:
            with contextlib.suppress(LumenError):
                authorise(principal, action, owner=generation.owner.id)
                return generation
        raise NotFound(f"There is no generation {identity[:40]!r}.")

    def end_of(self, whom: str) -> int:
        """Ends what runs under a principal's id or credential, and has the engines forget what they keep of it: access
        was withdrawn. Returns how many were ended."""
        ended = [one for one in self.live if whom in (one.owner.id, one.owner.credential)]
        for generation in ended:
            generation.stop(_withdrawn())
        self._remembered.end_of(whom)
        return len(ended)

    def stop_all(self, error: LumenError) -> None:
        """For sealing the box or changing the model under running answers."""
        for generation in self.live:
            generation.stop(error)

    async def close(self, grace: float) -> None:
        """Takes on nothing new, gives what runs ``grace`` seconds to finish, then ends the rest plainly."""
        self._stopping = True
        tasks = [one.task for one in self.live if one.task]
        if tasks and grace > 0:
            await asyncio.wait(tasks, timeout=grace)
        self.stop_all(_stopping())
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        if self._sweeper is not None:
            self._sweeper.cancel()

    async def _run(self, generation: Generation, job: Job) -> None:
        try:
            await self._write(generation, await job(generation))
        except asyncio.CancelledError:
            generation.fail(Interrupted("This answer was cancelled."))
        except LumenError as error:
            generation.fail(error)
        except Exception as error:
            generation.fail(unexpected(error))

    async def _write(self, generation: Generation, answer: Answering) -> None:
        try:
            async for news in answer:
                if isinstance(news, Tokens) and not generation.log:
                    self._metrics.first_token.observe(self._clock.monotonic() - generation.began)
                generation.take(news)
        finally:
            answer.cancel()
        generation.fail(LumenError("The engine ended this answer without saying why.", then="Try again."))

    def _finish(self, generation: Generation) -> None:
        generation.ended = self._clock.monotonic()
        self._durations.append(generation.ended - generation.began)
        self._metrics.ended(generation.model, generation.finished, generation.error)
        if not generation.detached:
            self._all.pop(generation.id, None)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                self._sweep_once()
            except Exception as error:  # a failing look-up must not be the last one
                unexpected(error)

    def _sweep_once(self) -> None:
        now = self._clock.monotonic()
        for one in list(self._all.values()):
            if one.ended is not None and now - one.ended > KEPT_SECONDS:
                del self._all[one.id]
        for credential in {one.owner.credential for one in self.live if one.owner.kind == "token"}:
            if not self._still_valid(credential):
                self.end_of(credential)
        self._remembered.look(now)

    def _full(self, live: int, theirs: int) -> QueueFull:
        """Guesses from past durations when a place in the queue will be free."""
        usual = sum(self._durations) / len(self._durations) if self._durations else 1.0
        seconds = min(MAX_RETRY_SECONDS, max(1, round(usual / max(1, self._bounds().places))))
        return QueueFull(
            f"The queue is full: {live} requests are being answered or waiting, {theirs} of them yours.",
            kept="This one was not taken on.",
            then=f"Try again in {seconds} seconds.",
            retry_after=seconds,
        )


def _stopping() -> Stopping:
    return Stopping("The gateway is shutting down.", then="Try again when it has started again.")


def _withdrawn() -> Withdrawn:
    return Withdrawn("The access that this answer ran under was withdrawn.", then="Ask an administrator of the box.")
