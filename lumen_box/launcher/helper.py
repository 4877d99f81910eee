"""Small programs that do one dangerous thing and may be killed for it: a request in, an answer out.

Every request has a time limit and every answer a size limit. A helper that breaks one is killed, and the next request
gets a fresh one; so does one that crashed. The helper's module calls ``child.serve(handler)``.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Self

from lumen_box.launcher.child import ANSWER, FRAME
from lumen_box.launcher.process import Child, Launcher, start
from lumen_box.launcher.program import Confinement, Program

LAST_WORDS_SECONDS = 1.0
REFUSAL_CAP = 4096  # bytes of a refusal's text
_PIECE = 256 * 1024


class HelperError(Exception):
    """Not an error of the box: whoever asked says what it means there."""


class HelperTimeout(HelperError):
    """It did not answer in time and was killed."""


class HelperOverflow(HelperError):
    """Its answer was longer than allowed and it was killed."""


class HelperCrashed(HelperError):
    """It ended without an answer."""


class HelperRefused(HelperError):
    """It found the request itself at fault; the text is its sentence, which is not trusted."""


class Helper:
    """A confined program that answers requests for as long as it behaves. Starts with the first request.

    Args:
        program: its module calls ``child.serve``.
        timeout: seconds for one request, starting the program included.
        output_cap: bytes of one answer.
        require: what must hold the program.
        launcher: how to start it.
    """

    def __init__(
        self,
        program: Program,
        *,
        timeout: float,
        output_cap: int,
        require: Confinement | None = None,
        launcher: Launcher = start,
    ) -> None:
        self._program, self._require, self._launcher = program, require, launcher
        self._timeout, self._output_cap = timeout, output_cap
        self._child: Child | None = None
        self._one_at_a_time = threading.Lock()

    def request(self, payload: bytes, *, timeout: float | None = None) -> bytes:
        """One answer; requests of several threads queue, and the time limit starts when theirs is the turn.

        Raises:
            HelperTimeout, HelperOverflow, HelperCrashed: the helper is gone, and the next request starts another.
            HelperRefused: the helper says that the request is at fault; it lives on.
        """
        with self._one_at_a_time:
            deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
            if self._child is None or self._child.poll() is not None:
                self._close()
                self._child = self._launcher(self._program, require=self._require)
            try:
                return self._exchange(self._child, payload, deadline)
            except HelperRefused:
                raise
            except BaseException:
                self._close()
                raise

    def _exchange(self, child: Child, payload: bytes, deadline: float) -> bytes:
        channel = _Channel(child.control, deadline)
        try:
            channel.send(FRAME.pack(len(payload), ANSWER) + payload)
            size, kind = FRAME.unpack(channel.receive(FRAME.size))
            if size > (self._output_cap if kind == ANSWER else REFUSAL_CAP):
                raise HelperOverflow(f"{self._name} answered with {size} bytes; {self._output_cap} are allowed.")
            answer = channel.receive(size)
        except TimeoutError:
            raise HelperTimeout(f"{self._name} did not answer in time and was stopped.") from None
        except (EOFError, ConnectionError):
            with contextlib.suppress(TimeoutError):  # its last words come after the end of its socket
                child.wait(LAST_WORDS_SECONDS)
            raise HelperCrashed(f"{self._name} ended without an answer. {child.stderr_tail()}".strip()) from None
        if kind != ANSWER:
            raise HelperRefused(answer.decode(errors="replace"))
        return answer

    @property
    def _name(self) -> str:
        return f"The helper {self._program.module}"

    def _close(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def close(self) -> None:
        """Kills the helper; a request under way in another thread comes to its end first."""
        with self._one_at_a_time:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Channel:
    """A socket with one deadline over many operations: a peer that drips bytes does not get more time."""

    def __init__(self, control: socket.socket, deadline: float) -> None:
        self._control, self._deadline = control, deadline

    def _arm(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._control.settimeout(left)

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._arm()
            view = view[self._control.send(view) :]

    def receive(self, size: int) -> bytes:
        """Exactly ``size`` bytes; memory grows with what has come, not with what was announced."""
        data = bytearray()
        while len(data) < size:
            self._arm()
            piece = self._control.recv(min(size - len(data), _PIECE))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)


def run_helper(
    program: Program | str,
    payload: bytes,
    *,
    timeout: float,
    output_cap: int,
    require: Confinement | None = None,
    launcher: Launcher = start,
) -> bytes:
    """One request to a helper of its own, which is gone afterwards. Raises as ``Helper.request`` does."""
    chosen = Program(program) if isinstance(program, str) else program
    with Helper(chosen, timeout=timeout, output_cap=output_cap, require=require, launcher=launcher) as helper:
        return helper.request(payload)
