"""Waiting for a model that is active but not loaded: its turn comes, or whoever asked is told when to come back.

The model that has been wanted for longest goes first; ``turns`` says what is unloaded for it. A request waits up to
``WAIT_SECONDS``, which clients of OpenAI's API bear, and is then refused with a time to come back after, which they
obey; the model keeps its place in line meanwhile, for as long as anybody comes back within ``REMEMBERED_SECONDS``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

from ..errors import Busy, LumenError, NoModel, NoSpace
from . import turns
from .running import RunningModel
from .turns import Key, Resident

WAIT_SECONDS: Final = 30.0
REMEMBERED_SECONDS: Final = 90.0
LOOK_SECONDS: Final = 0.1  # between two looks at whether anything can be unloaded
RETRY_SECONDS: Final = 5


class StillLoading(NoModel):
    """The model is on its way; ``retry_after`` says in how many seconds to ask again."""

    retry_after = RETRY_SECONDS


class OthersBusy(Busy):
    """It does not fit beside models that are in use."""

    retry_after = RETRY_SECONDS


class Room(Protocol):
    """What the line asks of the engine room; the last two while nothing else changes what runs."""

    def changing(self) -> AbstractAsyncContextManager[None]: ...
    def residents(self) -> list[Resident]: ...
    def close_for(self, key: Key) -> None: ...
    async def unload(self, key: Key) -> None: ...
    async def load(self, key: Key) -> RunningModel: ...


@dataclass(eq=False)
class _Want:
    since: float
    asked: float
    waiting: int = 0
    blocked: bool = False
    task: asyncio.Task[RunningModel] | None = field(default=None)


class Line:
    """Everybody who waits for models that are not loaded. Lives on the event loop of its room.

    Args:
        most: requests that may wait at once.
        idle_seconds: for how long nobody must have asked for a model before it may go.
        now: a monotonic clock.
    """

    def __init__(
        self, room: Room, *, most: int, idle_seconds: float, now: Callable[[], float], wait: float = WAIT_SECONDS
    ) -> None:
        self._room, self._most, self._idle_seconds, self._now, self._wait = room, most, idle_seconds, now, wait
        self._wants: dict[Key, _Want] = {}

    @property
    def wanted(self) -> Sequence[Key]:
        """Which models are waited for, the first in line first."""
        return sorted(self._wants, key=lambda key: self._wants[key].since)

    async def wait_for(self, key: Key) -> RunningModel:
        """The model, loaded.

        Raises:
            Busy: too many wait already, or nothing can be unloaded for it now.
            NoModel: it is still being loaded.
            LumenError: it cannot be loaded at all.
        """
        if sum(want.waiting for want in self._wants.values()) >= self._most:
            raise OthersBusy("Too many requests wait for models that are not loaded.", then="Try again later.")
        want = self._wants.setdefault(key, _Want(self._now(), self._now()))
        want.asked = self._now()
        want.waiting += 1
        if want.task is None:
            want.task = asyncio.create_task(self._fetch(key, want))
            want.task.add_done_callback(lambda task: self._done(key, task))
        try:
            await asyncio.wait({want.task}, timeout=self._wait)
        finally:
            want.waiting -= 1
        if not want.task.done():
            raise _not_yet(key, want)
        if want.task.cancelled():
            raise NoModel("The model was not loaded: the box is being closed.", then="Ask an operator.")
        return want.task.result()

    async def close(self) -> None:
        """Nobody waits any more."""
        tasks = [want.task for want in self._wants.values() if want.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, key: Key, task: asyncio.Task[RunningModel]) -> None:
        self._wants.pop(key, None)
        if not task.cancelled():
            task.exception()  # asked for, in case that nobody waits any more

    async def _fetch(self, key: Key, want: _Want) -> RunningModel:
        while True:
            if self.wanted[0] == key:
                async with self._room.changing():
                    if not want.blocked or await self._make_room(key):
                        try:
                            return await self._room.load(key)
                        except NoSpace:
                            if not self._room.residents():
                                raise
                            want.blocked = True
                            continue
            if not want.waiting and self._now() - want.asked > REMEMBERED_SECONDS:
                raise NoModel("Nobody waits for this model any more.")
            await asyncio.sleep(LOOK_SECONDS)

    async def _make_room(self, key: Key) -> bool:
        """Unloads one model, if one may go; otherwise sees to it that one will."""
        residents, now = self._room.residents(), self._now()
        if not residents:
            return True
        going = turns.next_to_go(residents, now, self._idle_seconds)
        if going:
            await self._room.unload(going.key)
            return True
        closing = turns.next_to_close(residents, now, self._idle_seconds)
        if closing:
            self._room.close_for(closing.key)
        return False


def _not_yet(key: Key, want: _Want) -> LumenError:
    if want.blocked:
        return OthersBusy(
            f"{key[1]} does not fit into memory beside the models that are in use now.",
            kept="It keeps its place in line.",
            then=f"Try again in {RETRY_SECONDS} seconds.",
        )
    return StillLoading(f"{key[1]} is still being loaded.", then=f"Try again in {RETRY_SECONDS} seconds.")
