"""Serving the application: TCP on the loopback, a Unix socket whose peers the kernel names, and the handover socket.

Stages of stopping: readiness says ``stopping`` and nothing new is taken on; what runs gets ``grace`` seconds, then
ends with a plain error as its last event; listeners close; connections close; the sockets' files go. A second signal
skips the grace.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from ..errors import UsageError
from .generations import Generations
from .handover import Handover, bind_unix
from .http import GatewayProtocol

CLOSING_SECONDS = 5  # for connections to take the last bytes
GRACE_SECONDS = 20.0  # for answers under way to finish
IDLE_SECONDS = 30  # of a kept-alive connection
MAX_HEAD = 32 * 1024  # bytes of request line and headers
BACKLOG = 128


@dataclass(frozen=True)
class Listen:
    """Where to listen. ``port`` 0 = any free one; ``mode`` is that of both Unix sockets."""

    socket: Path
    handover: Path
    host: str = "127.0.0.1"
    port: int = 0
    mode: int = 0o600


@dataclass(frozen=True)
class Bound:
    """Where the gateway can be reached."""

    url: str
    socket: Path


class Gateway:
    """One gateway. :meth:`run` returns once it has stopped; :meth:`stop` may be called from any task."""

    def __init__(self, app: FastAPI, listen: Listen, *, grace: float = GRACE_SECONDS) -> None:
        self._app, self._listen, self._grace = app, listen, grace
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    def stop(self) -> None:
        """Begins to stop; called again, stops without grace."""
        (self._hurry if self._stop.is_set() else self._stop).set()

    async def run(self, on_ready: Callable[[Bound], None] = lambda _: None, *, signals: bool = True) -> None:
        """Serves until stopped. Raises ``UsageError`` for an address that cannot be listened at."""
        with contextlib.ExitStack() as undo:
            tcp, bound = self._bind(undo)
            server = _server(self._app)
            handover: Handover = self._app.state.handover
            state = self._app.state
            state.url, state.stop, state.serving = bound.url, self.stop, True
            if signals:
                undo.enter_context(_signals(self.stop))
            handover.listen(self._listen.handover, self._listen.mode)
            serving = asyncio.create_task(server.serve(sockets=tcp))
            try:
                await self._until_stopped(server, serving, lambda: on_ready(bound))
            finally:
                server.should_exit = True
                await handover.close()
                await asyncio.gather(serving, return_exceptions=True)

    def _bind(self, undo: contextlib.ExitStack) -> tuple[list[socket.socket], Bound]:
        for path in (self._listen.socket, self._listen.handover):
            undo.callback(path.unlink, missing_ok=True)
        tcp = undo.enter_context(bind_tcp(self._listen.host, self._listen.port))
        local = undo.enter_context(bind_unix(self._listen.socket, self._listen.mode))
        return [tcp, local], Bound(_url(tcp), self._listen.socket)

    async def _until_stopped(
        self, server: uvicorn.Server, serving: asyncio.Task[None], on_ready: Callable[[], None]
    ) -> None:
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if not serving.done():
            on_ready()
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({stopping, serving}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        generations: Generations = self._app.state.generations
        closing = asyncio.create_task(generations.close(self._grace))
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({closing, hurry}, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not closing.done():
            closing.cancel()
            await generations.close(0)


class _Quiet(uvicorn.Server):
    """Signals are the gateway's business: uvicorn would end the process by the signal it caught."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(app: FastAPI) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http=GatewayProtocol,
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        log_level="error",  # what strangers send wrong would otherwise fill the log, a line each
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=CLOSING_SECONDS,
        h11_max_incomplete_event_size=MAX_HEAD,
    )
    return _Quiet(config)


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def bind_tcp(host: str, port: int) -> socket.socket:
    """A listening socket on the loopback; ``UsageError`` for any other address: there is no TLS yet."""
    address = "127.0.0.1" if host == "localhost" else host.strip("[]")
    try:
        loopback = ipaddress.ip_address(address)
    except ValueError:
        raise UsageError(f"{host!r} is not an address.", then="Give 127.0.0.1 or ::1.") from None
    if not loopback.is_loopback:
        raise UsageError(
            f"The gateway does not listen on {host}: without TLS it serves the loopback only.",
            then="Give 127.0.0.1 or ::1.",
        )
    listener = socket.socket(socket.AF_INET6 if loopback.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            why, then = "another program has it", "Stop that one, or give another port: --port 0 takes a free one."
        else:
            why, then = getattr(error, "strerror", None) or str(error), "Give another port: --port 0 takes a free one."
        raise UsageError(
            f"The gateway cannot listen on {host} port {port}: {why}.", kept="Nothing was changed.", then=then
        ) from error
    listener.setblocking(False)
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
