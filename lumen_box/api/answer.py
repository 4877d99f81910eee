"""From a generation to an HTTP response, streaming or whole, in whichever of OpenAI's shapes.

The headers wait until the engine has accepted the request, so that a refusal gets its own status: it is accepted once
its prompt is known to fit, before it waits for its turn, and that is a matter of milliseconds. Where others' long
prompts make it longer than ``OPEN_SECONDS`` the stream opens all the same. From then on an error is the last event of
the stream, and while the request waits, comments say how many are before it.

A client that goes away, or takes nothing for ``patience`` seconds, ends the generation within one step of the engine,
also while it still waits in the queue.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..engine.protocol import Finished, Tokens
from ..errors import Interrupted, LumenError
from ..schemas import sse
from ..schemas.errors import body_of
from .generation import Generation
from .responses import Json, dumps, error_response

PATIENCE = 60.0  # seconds for a client to take what was written
ALIVE_SECONDS = 15.0  # between signs of life
OPEN_SECONDS = 2.0  # for a stream to open, at the latest
_STREAM_HEADERS = [(b"content-type", sse.MEDIA_TYPE.encode()), (b"x-accel-buffering", b"no")]


class WholeShape(Protocol):
    """How an answer is written down in one piece: a JSON object, or the bytes of one."""

    def whole(self, log: Sequence[Tokens], finished: Finished) -> dict[str, Any] | bytes: ...


class Shape(WholeShape, Protocol):
    """The same, and in pieces."""

    def opening(self) -> bytes: ...
    def chunk(self, news: Tokens) -> bytes: ...
    def closing(self, finished: Finished) -> bytes: ...


class WholeResponse(Response):
    """Waits for one generation that nobody else reads: with the connection the generation ends."""

    def __init__(self, generation: Generation, shape: WholeShape, *, patience: float = PATIENCE) -> None:
        self._generation, self._whole_shape, self._patience = generation, shape, patience
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writing = asyncio.ensure_future(self._reply(scope, receive, send))
        leaving = asyncio.ensure_future(left(receive))
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                await writing
        except TimeoutError:  # the client takes nothing: no polite ending would reach it either
            _abort(scope)
        finally:
            self._generation.stop(Interrupted("The client went away before the answer was complete."))
            for task in (writing, leaving):
                task.cancel()
            await asyncio.gather(writing, leaving, return_exceptions=True)

    async def _reply(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            finished = await self._generation.result()
            response: Response = await asyncio.to_thread(self._written, finished)
        except LumenError as error:
            response = error_response(error)
        async with asyncio.timeout(self._patience):
            await response(scope, receive, send)

    def _written(self, finished: Finished) -> Response:
        return Json(self._whole_shape.whole(self._generation.log, finished), headers=self._trimmed())

    def _trimmed(self) -> dict[str, str]:
        """The header that says how many messages were left out, as far as that is known by now."""
        left_out = self._generation.trimmed
        return {} if left_out is None else {"x-lumen-trimmed": str(left_out)}


class AnswerResponse(WholeResponse):
    """The same, also as a stream."""

    def __init__(self, generation: Generation, shape: Shape, *, stream: bool, patience: float = PATIENCE) -> None:
        super().__init__(generation, shape, patience=patience)
        self._shape, self._stream = shape, stream

    async def _reply(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._streamed if self._stream else super()._reply)(scope, receive, send)

    async def _streamed(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            accepted = await self._generation.accepted(OPEN_SECONDS)
        except LumenError as error:
            await error_response(error)(scope, receive, send)
            return
        told = [(name.encode(), value.encode()) for name, value in self._trimmed().items()]
        await send({"type": "http.response.start", "status": 200, "headers": [*_STREAM_HEADERS, *told]})
        try:
            while not accepted:
                await self._write(send, sse.KEEP_ALIVE)
                accepted = await self._generation.accepted(ALIVE_SECONDS)
        except LumenError as error:
            await self._write(send, sse.encode(dumps(body_of(error))), more=False)
            return
        await self._write(send, self._shape.opening())
        async for batch in self._generation.follow(pause=ALIVE_SECONDS):
            if data := b"".join(map(self._shape.chunk, batch)) if batch else self._alive():
                await self._write(send, data)
        await self._write(send, await self._last(), more=False)

    def _alive(self) -> bytes:
        """What is said while there is nothing to say."""
        ahead = self._generation.ahead
        return sse.KEEP_ALIVE if ahead is None else sse.waiting(ahead)

    async def _last(self) -> bytes:
        try:
            return self._shape.closing(await self._generation.result()) + sse.DONE
        except LumenError as error:
            return sse.encode(dumps(body_of(error)))

    async def _write(self, send: Send, data: bytes, more: bool = True) -> None:
        async with asyncio.timeout(self._patience):
            await send({"type": "http.response.body", "body": data, "more_body": more})


async def left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _abort(scope: Scope) -> None:
    """Drops the connection without flushing; the server puts the means into the request's state."""
    with contextlib.suppress(KeyError):
        scope["state"]["abort"]()
