"""A generation: an answer as an object of the server, with an id, an owner and a numbered log of what was said.

The engine writes the log at its own pace; any number of readers follow it from any number, at theirs. So a slow reader
holds up nobody, and one that comes back goes on from where it was.

A generation ends in exactly one outcome: finished, or an error (cancelled, refused, the engine died, access withdrawn).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence

from ..engine.protocol import Accepted, Embedded, Finished, Queued, Tokens
from ..errors import Interrupted, LumenError
from .ports import News
from .principal import Principal


class Generation:
    """One answer. Read it with :meth:`follow`; it owns no connection."""

    def __init__(self, owner: Principal, model: str, began: float, created: int, priority: int, detached: bool) -> None:
        self.id = secrets.token_hex(12)
        self.owner, self.model, self.priority, self.detached = owner, model, priority, detached
        self.began, self.created = began, created
        self.ended: float | None = None
        self.log: list[Tokens] = []  # entry n has the number n
        self.vectors: list[Embedded] = []  # in no certain order
        self.prompt_tokens: int | None = None  # None until the engine has accepted it
        self.trimmed: int | None = None  # messages left out of its prompt, where its owner allowed that
        self.ahead: int | None = None  # requests before this one, while it waits for a slot in the engine
        self.finished: Finished | None = None
        self.error: LumenError | None = None
        self.task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def done(self) -> bool:
        return self.finished is not None or self.error is not None

    def take(self, event: News) -> None:
        """Writes down what the engine says."""
        match event:
            case Accepted():
                self.prompt_tokens = event.prompt_tokens
            case Queued():
                self.ahead = event.ahead
            case Tokens():
                self.ahead = None
                self.log.append(event)
            case Embedded():
                self.vectors.append(event)
            case Finished(reason="stop" | "length"):
                self.finished = event
            case Finished():
                self.error = Interrupted("This answer was cancelled.")
        self._tell()

    def fail(self, error: LumenError) -> None:
        if not self.done:
            self.error = error
            self._tell()

    def stop(self, error: LumenError) -> None:
        """Ends it from outside: readers get ``error``, the engine stops within one step."""
        if not self.done:
            self.fail(error)
            if self.task is not None:
                self.task.cancel()

    async def accepted(self, seconds: float | None = None) -> bool:
        """True once the engine has taken it on, False if that takes longer; raises what refused it before."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.prompt_tokens is None and not self.log and not self.done:
                    await self._change()
        if self.error is not None and not self.log:
            raise self.error
        return self.prompt_tokens is not None or bool(self.log) or self.done

    async def follow(self, start: int = 0, pause: float | None = None) -> AsyncIterator[Sequence[Tokens]]:
        """The log from entry ``start``, in batches as it grows, until the end; :meth:`result` says how it ended.

        An empty batch comes whenever its place in the queue has changed, and with ``pause`` whenever that many seconds
        brought nothing.
        """
        told = None
        while True:
            if len(self.log) > start:
                batch = self.log[start:]
                start += len(batch)
                told = self.ahead
                yield batch
            elif self.done:
                return
            elif told != self.ahead:
                told = self.ahead
                yield ()
            elif not await self._change(pause):
                yield ()

    async def result(self) -> Finished:
        """How it ended, once it has; raises the error if it ended in one."""
        while self.finished is None:
            if self.error is not None:
                raise self.error
            await self._change()
        return self.finished

    async def _change(self, seconds: float | None = None) -> bool:
        waiting = self._changed
        try:
            async with asyncio.timeout(seconds):
                await waiting.wait()
        except TimeoutError:
            return False
        return True

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
