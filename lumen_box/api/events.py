"""Long work as a response: a use case reports its progress, and this streams the reports as they come.

The work runs in one thread of its own from its first line to its last, so what it opens there stays there. A failure
before the first report gets its own HTTP status; afterwards the last line says it. When the client goes away, the next
report raises ``Interrupted`` inside the work, which unwinds as it would for Ctrl-C; the request is over when it has.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..errors import Interrupted, LumenError
from ..progress import Advance, Event, Report
from ..schemas import progress
from .answer import ALIVE_SECONDS, left
from .responses import error_response, unexpected

Work = Callable[[Report], Any]  # what it returns must be JSON
ADVANCE_SECONDS = 0.05  # between two lines that only say how far it is; the last of a step is always sent
_HEADERS = [(b"content-type", progress.MEDIA_TYPE.encode()), (b"x-accel-buffering", b"no")]


class _Runner:
    """The thread: runs the work and leaves lines for the event loop to take; None is the last."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        self._due = 0.0
        self.lines: asyncio.Queue[bytes | LumenError | None] = asyncio.Queue()
        self.ended = asyncio.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="use case", daemon=True).start()

    def stop(self) -> None:
        """The work is interrupted when it next reports."""
        self._stopped = True

    def _run(self) -> None:
        try:
            line: bytes | LumenError = progress.result_line(self._work(self._report))
        except LumenError as error:
            line = error
        except Exception as error:
            line = unexpected(error)
        self._tell(line)
        self._tell(None)
        self._loop.call_soon_threadsafe(self.ended.set)

    def _report(self, event: Event) -> None:
        if self._stopped:
            raise Interrupted("The command that asked for this went away.", then="Run it again.")
        if isinstance(event, Advance) and event.done < event.total:
            now = time.monotonic()
            if now < self._due:
                return
            self._due = now + ADVANCE_SECONDS
        self._tell(progress.event_line(event))

    def _tell(self, line: bytes | LumenError | None) -> None:
        self._loop.call_soon_threadsafe(self.lines.put_nowait, line)


class Progress(Response):
    """Runs ``work(report)`` and streams what it reports, as NDJSON (``schemas/progress.py``)."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        runner = _Runner(self._work)
        runner.start()
        writing = asyncio.ensure_future(_write(runner, scope, receive, send))
        leaving = asyncio.ensure_future(left(receive))
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                await writing
        finally:
            runner.stop()
            for task in (writing, leaving):
                task.cancel()
            await asyncio.gather(writing, leaving, return_exceptions=True)
            await asyncio.shield(runner.ended.wait())  # what the work holds is let go before the request is over


async def _write(runner: _Runner, scope: Scope, receive: Receive, send: Send) -> None:
    line = await runner.lines.get()
    if isinstance(line, LumenError):
        await error_response(line)(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    while line is not None:
        data = progress.error_line(line) if isinstance(line, LumenError) else line
        await send({"type": "http.response.body", "body": data, "more_body": True})
        line = await _next(runner)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _next(runner: _Runner) -> bytes | LumenError | None:
    try:
        async with asyncio.timeout(ALIVE_SECONDS):
            return await runner.lines.get()
    except TimeoutError:
        return progress.ALIVE
