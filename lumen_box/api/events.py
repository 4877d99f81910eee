"""Long work as a response: a use case is a generator of progress events, and this streams them as they come.

The generator runs in one thread of its own from its first line to its last, so what it opens there stays there. A
failure before the first event gets its own HTTP status; afterwards the last line says it. A client that goes away
closes the generator at its next event: a use case that must not stop half way yields none there.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..errors import LumenError
from ..progress import Advance, Event
from ..schemas import progress
from .responses import error_response, unexpected

Work = Generator[Event, None, Any]  # what it returns must be JSON
ALIVE_SECONDS = 15.0
MAX_BACKLOG = 1024  # lines a slow client may be behind before progress is left out


class _Runner:
    """The thread: runs the work and leaves lines for the event loop to take."""

    def __init__(self, make: Callable[[], Work], name: str) -> None:
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self.lines: asyncio.Queue[bytes | LumenError] = asyncio.Queue()
        self.ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """The generator is closed when it next yields."""
        self._stop.set()

    def _run(self) -> None:
        try:
            result = self._work()
            self._tell(progress.result_line(result))
        except LumenError as error:
            self._tell(error)
        except Exception as error:
            self._tell(unexpected(error))
        finally:
            self._loop.call_soon_threadsafe(self.ended.set)

    def _work(self) -> Any:
        work = self._make()
        try:
            while not self._stop.is_set():
                event = next(work)
                if isinstance(event, Advance) and self.lines.qsize() > MAX_BACKLOG:
                    continue
                self._tell(progress.event_line(event))
        except StopIteration as end:
            return end.value
        finally:
            work.close()
        return None

    def _tell(self, line: bytes | LumenError) -> None:
        self._loop.call_soon_threadsafe(self.lines.put_nowait, line)


class Progress(Response):
    """Runs ``make()`` and streams what it yields, as NDJSON (``schemas/progress.py``)."""

    def __init__(self, make: Callable[[], Work], name: str = "use case") -> None:
        self._make, self._name = make, name
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        runner = _Runner(self._make, self._name)
        runner.start()
        writing = asyncio.ensure_future(self._write(runner, scope, receive, send))
        leaving = asyncio.ensure_future(_left(receive))
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

    async def _write(self, runner: _Runner, scope: Scope, receive: Receive, send: Send) -> None:
        line = await runner.lines.get()
        if isinstance(line, LumenError):
            await error_response(line)(scope, receive, send)
            return
        headers = [(b"content-type", progress.MEDIA_TYPE.encode()), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": line, "more_body": True})
        while not (runner.ended.is_set() and runner.lines.empty()):
            try:
                async with asyncio.timeout(ALIVE_SECONDS):
                    line = await runner.lines.get()
            except TimeoutError:
                line = progress.ALIVE
            data = progress.error_line(line) if isinstance(line, LumenError) else line
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
