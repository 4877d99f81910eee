"""Starting a confined program as a child process, and holding on to it."""

from __future__ import annotations

import contextlib
import marshal
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

import lumen_box
from lumen_box.errors import LumenError, NotAllowed
from lumen_box.launcher.program import Confinement, Limits, Program
from lumen_box.launcher.stage import CONTROL
from lumen_box.launcher.view import View, view_of

STDERR_TAIL = 64 * 1024  # bytes of a program's stderr that are kept
STATUS_CAP = 4096  # bytes of the stage's report
START_SECONDS = 30.0  # a stage takes a few hundredths; a machine may be very busy
KILL_SECONDS = 30.0  # giving back the memory of a large model takes its time

_INHERITED = ("LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
_ALWAYS = {"HOME": "/", "PATH": "/usr/bin:/bin", "GGML_NO_BACKTRACE": "1"}
_STAGE = (
    "import sys; sys.path.append(sys.argv[1]); from lumen_box.launcher import stage; plan = stage.main({}); "
    "from lumen_box.launcher.child import run; run(plan)"
)


class Launcher(Protocol):
    """The shape of every way to start a confined program."""

    def __call__(self, program: Program, *, require: Confinement | None = None) -> Child: ...


class _Refused(Exception):
    """Namespaces cannot be had here."""


class Child:
    """A confined program that runs. Leaving its ``with`` block, dropping it, or dying kills the program.

    Attributes:
        pid: its process id as seen from here.
        control: this end of its control socket.
        confinement: what holds it.
    """

    def __init__(
        self,
        monitor: subprocess.Popen[bytes],
        pid: int,
        control: socket.socket,
        lifeline: socket.socket,
        confinement: Confinement,
    ) -> None:
        self.pid, self.control, self.confinement = pid, control, confinement
        self._monitor, self._lifeline = monitor, lifeline
        self._tail = bytearray()
        assert monitor.stderr is not None  # noqa: S101 - it was started with a pipe
        self._reader = threading.Thread(target=_drain, args=(monitor.stderr, self._tail), daemon=True)
        self._reader.start()

    def poll(self) -> int | None:
        """The exit status, None while it runs, negative for a signal. Process 1 of a namespace cannot be ended by
        SIGABRT: an abort shows as SIGSEGV."""
        return self._monitor.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the exit status; TimeoutError if it still runs after ``timeout`` seconds."""
        try:
            code = self._monitor.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"process {self.pid} still runs") from None
        self._reader.join(KILL_SECONDS)
        return code

    def kill(self) -> None:
        """Kills it, if it still runs, and waits until it is gone. Any thread may call this, any number of times."""
        with contextlib.suppress(OSError):
            self._lifeline.shutdown(socket.SHUT_RDWR)
        try:
            self.wait(KILL_SECONDS)
        except TimeoutError:  # the monitor is stuck: the program dies with it
            self._monitor.kill()
            self._monitor.wait()

    def close(self) -> None:
        """Kills it and closes the control socket."""
        self.kill()
        self.control.close()
        self._lifeline.close()

    def stderr_tail(self) -> str:
        """The last that it wrote to stdout and stderr, without control characters: it is not trusted."""
        text = bytes(self._tail).decode(errors="replace")
        return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _drain(pipe: IO[bytes], tail: bytearray) -> None:
    with pipe:
        while piece := os.read(pipe.fileno(), STDERR_TAIL):
            tail += piece
            del tail[:-STDERR_TAIL]


def start(program: Program, *, require: Confinement | None = None) -> Child:
    """Starts ``program``, confined as well as this kernel allows, and returns once it has begun.

    Where namespaces are refused, Landlock and the system call filter take their place, and ``confinement`` says so.

    Raises:
        NotAllowed: this kernel cannot confine it, or less than ``require`` asks for; nothing runs then.
        NotFound: a path that the program names does not exist.
        LumenError: it could not be started.
    """
    asked = require or Confinement()
    view = view_of(program)
    try:
        return _attempt(program, view, Confinement(namespaces=True, landlock=asked.landlock, seccomp=asked.seccomp))
    except _Refused as refusal:
        reason = f"The kernel refuses namespaces: {refusal}."
    if asked.namespaces:
        raise _too_weak(asked, reason)
    child = _attempt(program, view, Confinement(landlock=asked.landlock, seccomp=True))
    child.confinement = replace(child.confinement, reason=reason)
    return child


def _too_weak(asked: Confinement, reason: str) -> NotAllowed:
    return NotAllowed(
        f"A program must be held by {asked} here, and the kernel does not give that. {reason}".rstrip(),
        kept="Nothing was started.",
        then="Allow user namespaces on this machine, or relax the policy.",
    )


def confinement_available() -> Confinement:
    """What this kernel gives, found out by confining a program that does nothing."""
    try:
        with start(Program("lumen_box.launcher.nothing")) as child:
            return child.confinement
    except NotAllowed as error:
        return Confinement(reason=error.what)


def _attempt(program: Program, view: View, least: Confinement) -> Child:
    """Starts it held by at least this much; without namespaces if they are not asked for."""
    with contextlib.ExitStack() as unless_started:
        (control, far_control), (lifeline, far_lifeline), (status, far_status) = (socket.socketpair() for _ in range(3))
        for ours in (control, lifeline, status):
            unless_started.callback(ours.close)
        with far_control, far_lifeline, far_status:
            monitor = _spawn(program, far_status.fileno(), far_lifeline.fileno(), far_control.fileno())
        child = Child(monitor, 0, control, lifeline, Confinement())
        unless_started.callback(child.kill)
        _send_plan(monitor, _plan(program, view, least))
        try:
            child.pid, child.confinement = _outcome(_report(status), least)
        except _Failed as failure:
            child.kill()
            raise LumenError(
                f"The confined program {program.module} could not be started: {failure} {child.stderr_tail()}".strip()
            ) from None
        unless_started.pop_all()
        status.close()
        return child


def _send_plan(monitor: subprocess.Popen[bytes], plan: dict[str, object]) -> None:
    assert monitor.stdin is not None  # noqa: S101 - it was started with a pipe
    with contextlib.suppress(BrokenPipeError), monitor.stdin as pipe:
        pipe.write(marshal.dumps(plan))


class _Failed(Exception):
    """The stage has said why, or has said nothing at all."""


def _spawn(program: Program, status: int, lifeline: int, control: int) -> subprocess.Popen[bytes]:
    """The stage, with the program's environment and, for those who list processes, its name."""
    root = os.path.realpath(Path(lumen_box.__path__[0]).parent)  # the program sees real paths alone
    code = _STAGE.format(f"{status}, {lifeline}, {control}")
    return subprocess.Popen(
        [_interpreter(), "-I", "-S", "-B", "-X", "utf8", "-c", code, root, program.module],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=(status, lifeline, control),
        env={**_inherited(*_INHERITED), **_ALWAYS, **program.environment},
        cwd="/",
        start_new_session=True,  # Ctrl-C at the terminal is for the starter
    )


def _interpreter() -> str:
    return os.path.realpath(sys.executable)


def _inherited(*names: str) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}


def _plan(program: Program, view: View, least: Confinement) -> dict[str, object]:
    return {
        "namespaces": least.namespaces,
        "least": [least.landlock, int(least.seccomp)],
        "binds": list(view.binds),
        "links": list(view.links),
        "roots": list(view.roots),
        "devices": list(view.devices),
        "scratch": program.limits.scratch_bytes,
        "limits": _limits(program.limits),
        "module": program.module,
        "arguments": [*program.args, "--control", str(CONTROL)],
        "prefix": sys.prefix,
    }


def _limits(limits: Limits) -> dict[int, int]:
    values = {
        resource.RLIMIT_AS: limits.memory_bytes,
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NPROC: limits.processes if _kernel() >= (5, 14) else None,
    }
    return {which: value for which, value in values.items() if value is not None}


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2] if part.isdigit())


def _report(status: socket.socket) -> dict[str, str]:
    """The stage's lines, by their first word, once it has closed its end."""
    text, deadline = b"", time.monotonic() + START_SECONDS
    while len(text) < STATUS_CAP:
        status.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            piece = status.recv(STATUS_CAP)
        except TimeoutError:
            raise _Failed(f"It took more than {START_SECONDS:.0f} seconds.") from None
        if not piece:
            break
        text += piece
    lines = (line.partition(" ") for line in text.decode(errors="replace").splitlines())
    return {word: rest for word, _, rest in lines}


def _outcome(report: dict[str, str], least: Confinement) -> tuple[int, Confinement]:
    if "refused" in report:
        raise _Refused(report["refused"])
    if "weak" in report:
        raise _too_weak(least, "")
    if "failed" in report or "held" not in report or "pid" not in report:
        raise _Failed(report.get("failed", "The stage ended without a word."))
    version, filtered = (int(number) for number in report["held"].split())
    missing = [name for name, there in (("Landlock", version), ("seccomp", filtered)) if not there]
    reason = f"The kernel has no {' and no '.join(missing)}." if missing else ""
    return int(report["pid"]), Confinement(least.namespaces, version, bool(filtered), reason)
