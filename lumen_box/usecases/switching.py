"""Having one version answer in place of another, with both in memory for a moment or, where they do not fit, not.

The new version is loaded and answers once before anybody is sent to it. Beside the old one it must be laid out as that
is; where memory does not bear this, the old one is unloaded first and comes back if the new one fails, and after it
whatever else nobody is using. The operator is told before anything is unloaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..catalogue import Installed
from ..errors import NoSpace
from ..progress import Note, Report, Step
from .engines import EngineRoom
from .running import RunningModel
from .turns import unused


class Switch:
    """One change of what answers under a name.

    Args:
        commit: moves the pointer: after the new version has answered once, and before anybody is sent to it.
    """

    def __init__(self, room: EngineRoom, installed: Installed, report: Report, commit: Callable[[], None]) -> None:
        self._room, self._installed, self._report, self._commit = room, installed, report, commit

    async def make(self) -> None:
        """Makes the change, or leaves everything as it was and raises. Nothing else may change what runs meanwhile."""
        room, new = self._room, self._installed
        before = room.running(new.publisher, new.name)
        self._report(Step(f"Loading {new.name} {new.version}"))
        try:
            running = await room.start(new, self._report, beside=before)
        except NoSpace as refusal:
            await self._in_place_of(before, refusal)
            return
        await self._send_to(running)
        if before:
            room.retire(before)

    async def _in_place_of(self, before: RunningModel | None, refusal: NoSpace) -> None:
        if before is None:
            await self._send_to(await self._with_room_made(refusal))
            return
        self._report(
            Note("Both versions do not fit into memory: the old one is unloaded first. Answers under way end.")
        )
        try:
            await before.stop()
            await self._send_to(await self._with_room_made(None))
        except asyncio.CancelledError:  # the box is being sealed or stopped: nothing is to come back
            raise
        except BaseException:
            self._room.put(await self._room.start(before.installed))
            raise

    async def _with_room_made(self, refusal: NoSpace | None) -> RunningModel:
        """Unloads one unused model after the other until this one fits; ``NoSpace`` when none is left to unload."""
        while True:
            if refusal:
                await self._make_room(refusal)
            try:
                return await self._room.start(self._installed, self._report)
            except NoSpace as error:
                refusal = error

    async def _make_room(self, refusal: NoSpace) -> None:
        going = unused(self._room.residents(), but=(self._installed.publisher, self._installed.name))
        if going is None:
            raise refusal
        self._report(Note(f"{going.key[1]} is unloaded to make room; it is loaded again when somebody asks for it."))
        await self._room.unload(going.key)

    async def _send_to(self, running: RunningModel) -> None:
        """Has it answer once, moves the pointer, and sends people there."""
        try:
            await running.check_health()
            self._commit()
        except BaseException:
            await running.stop()
            raise
        self._room.put(running)
