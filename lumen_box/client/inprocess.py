"""The application inside the client's own process, without a socket, streaming like the real thing.

httpx's own ASGI transport hands over a body only when it is complete, which would hide the progress of long work.
Whoever runs the application in their process holds the home's lock; the application says who they are
(``app.state.in_process``), as the real server does from the socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import httpx

MAX_WRITTEN = 64  # pieces of a body that may wait for the reader

Message = MutableMapping[str, Any]


class InProcess(httpx.AsyncBaseTransport):
    """Calls an ASGI application; the state of each request carries the peer, as the real server's does."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        exchange = _Exchange(await request.aread())
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.partition(b"?")[0],
            "query_string": request.url.query,
            "root_path": "",
            "headers": [(key.lower(), value) for key, value in request.headers.raw],
            "server": None,
            "client": None,
            "state": self._app.state.in_process(),
        }
        status, headers = await exchange.begin(self._app, scope)
        return httpx.Response(status, headers=headers, stream=exchange, request=request)


class _Exchange(httpx.AsyncByteStream):
    """One request and its response. Closed early, the application is told that the client has gone."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._gone = asyncio.Event()
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(MAX_WRITTEN)
        self._task: asyncio.Task[None] | None = None

    async def begin(self, app: Any, scope: dict[str, Any]) -> tuple[int, list[tuple[bytes, bytes]]]:
        """The status and headers, once the application has sent them; raises what it raised before."""
        self._task = asyncio.ensure_future(self._run(app, scope))
        try:
            first = await self._messages.get()
        except BaseException:
            await self.aclose()
            raise
        if first is None:
            await self._task
            raise RuntimeError("the application sent no response")
        return first["status"], list(first.get("headers", ()))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (message := await self._messages.get()) is not None:
            yield message.get("body", b"")
            if not message.get("more_body", False):
                break

    async def aclose(self) -> None:
        self._gone.set()
        while self._task is not None and not self._task.done():
            while not self._messages.empty():  # a full queue must not keep the application from noticing
                self._messages.get_nowait()
            await asyncio.wait({self._task}, timeout=0.05)
        if self._task is not None and not self._task.cancelled():
            self._task.exception()  # the response has told it already

    async def _run(self, app: Any, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self._receive, self._messages.put)
        finally:
            if not self._gone.is_set():
                await self._messages.put(None)

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}
