"""Asking the probe (``probe.py``): plainly started, confined, and confined where the kernel refuses namespaces.

Run as ``python -m tests.support.probing`` it is the go-between for the last: it confines a probe and passes
requests on.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lumen_box.launcher import Child, Program, start
from lumen_box.launcher.child import FRAME, serve

PROBE = "tests.support.probe"
ROOT = Path(__file__).resolve().parents[2]
Ask = Callable[..., Any]

# In a user namespace of one's own its limit can be set to zero: what a kernel does that refuses them.
REFUSING = ["unshare", "-r", "sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh"]


def program(**more: Any) -> Program:
    return Program(PROBE, **more)


def _exchange(control: socket.socket, request: bytes) -> bytes:
    control.sendall(FRAME.pack(len(request), 0) + request)
    with control.makefile("rb") as incoming:
        header = incoming.read(FRAME.size)
        if len(header) < FRAME.size:
            raise EOFError("the probe has gone")
        return incoming.read(FRAME.unpack(header)[0])


def asking(control: socket.socket) -> Ask:
    """A function that sends one attempt and returns its outcome."""
    control.settimeout(30)
    return lambda name, *arguments: json.loads(_exchange(control, json.dumps([name, *arguments]).encode()))


@contextlib.contextmanager
def confined(**more: Any) -> Iterator[tuple[Child, Ask]]:
    """A probe started through the launcher; ``more`` are fields of its Program."""
    with start(program(**more)) as child:
        yield child, asking(child.control)


@contextlib.contextmanager
def plain(*, close_fds: bool = True) -> Iterator[tuple[int, Ask]]:
    """A probe started as any subprocess; its pid and a way to ask it."""
    with _subprocess([sys.executable, "-m", PROBE], close_fds) as found:
        yield found


@contextlib.contextmanager
def confined_without_namespaces(readable: Path) -> Iterator[Ask]:
    """A probe started through the launcher by a process to which the kernel refuses namespaces."""
    with _subprocess([*REFUSING, sys.executable, "-m", "tests.support.probing", str(readable)], True) as (_, ask):
        yield ask


@contextlib.contextmanager
def _subprocess(command: list[str], close_fds: bool) -> Iterator[tuple[int, Ask]]:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            arguments = [*command, "--control", str(theirs.fileno())]
            theirs.set_inheritable(True)
            fds = (theirs.fileno(),) if close_fds else ()
            process = subprocess.Popen(arguments, pass_fds=fds, close_fds=close_fds, cwd=ROOT)
        try:
            yield process.pid, asking(ours)
        finally:
            process.kill()
            process.wait()


def _go_between() -> None:
    with start(program(readable=(Path(sys.argv[1]),))) as child:

        def pass_on(request: bytes) -> bytes:
            if json.loads(request) == ["confinement"]:
                return json.dumps(str(child.confinement)).encode()
            return _exchange(child.control, request)

        serve(pass_on)


if __name__ == "__main__":
    _go_between()
