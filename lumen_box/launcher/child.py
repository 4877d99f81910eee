"""The side of the confined program: first not dumpable, then ready, only then a key.

A module started by the launcher calls ``enter()`` for its control socket; a helper calls ``serve()`` instead.
"""

from __future__ import annotations

import os
import resource
import struct
import sys

from lumen_box.launcher import kernel, seccomp

TYPE_CHECKING = False  # importing it from typing would cost a third of a start
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

FRAME = struct.Struct(">IB")  # length, kind
ANSWER, REFUSED = 0, 1

_FLAG = "--control"


def harden() -> None:
    """No core dump, not dumpable: for this process and every other that holds keys, such as the gateway."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kernel.set_undumpable()


def run(plan: dict[str, Any]) -> None:
    """Runs the plan's module as ``__main__``: what the interpreter does once the stage has confined it."""
    harden()
    if seccomp.supported():
        seccomp.install(seccomp.second_filter(kernel.machine()))
    sys.argv = ["", *plan["arguments"]]
    sys.path[-1:] = plan["roots"]  # in place of the one that the stage was found by
    sys.prefix = sys.exec_prefix = plan["prefix"]
    import runpy

    runpy.run_module(plan["module"], run_name="__main__", alter_sys=True)


def enter() -> socket.socket:
    """Makes this process undumpable and returns its control socket, whose number it takes out of ``sys.argv``.

    Also works in a plain subprocess that was given ``--control FD``.
    """
    harden()
    import socket

    at = sys.argv.index(_FLAG)
    number = int(sys.argv[at + 1])
    del sys.argv[at : at + 2]
    os.set_inheritable(number, False)
    return socket.socket(fileno=number)


class Refusal(Exception):
    """Raised by a handler: the request is at fault, not the helper. Its text goes to the caller."""


def serve(handler: Callable[[bytes], bytes]) -> None:
    """Answers requests with ``handler``, one after the other, until the starter closes the socket.

    A frame is a length (4 bytes, big-endian), a kind (1 byte: 0 answer, 1 refusal) and that many bytes; a request has
    kind 0. An exception other than ``Refusal`` ends this process: the next request gets a fresh one.
    """
    with enter() as control, control.makefile("rb") as incoming:
        while len(header := incoming.read(FRAME.size)) == FRAME.size:
            size, _ = FRAME.unpack(header)
            try:
                kind, answer = ANSWER, handler(incoming.read(size))
            except Refusal as refusal:
                kind, answer = REFUSED, str(refusal).encode(errors="replace")
            control.sendall(FRAME.pack(len(answer), kind) + answer)
