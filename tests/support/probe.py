"""A program that tries what a confined program must not be able to do, and says what came of it.

``python -m tests.support.probe --control FD``: each frame on the control socket (see ``launcher.child.serve``) is a
JSON list ``[name, argument…]`` of one attempt below; the answer is the JSON of what the attempt returned, or, as a
string that begins with ``refused``, the error it met. Run without the launcher it shows that the attempt succeeds.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import mmap
import os
import platform
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lumen_box.launcher.child import Refusal, serve

_LIBC = ctypes.CDLL(None, use_errno=True)
_NUMBERS = {  # of system calls that Python does not offer: x86-64, aarch64
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "io_uring_setup": (425, 425),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "keyctl": (250, 219),
    "userfaultfd": (323, 282),
    "shmget": (29, 194),
    "pidfd_open": (434, 434),
    "prctl": (157, 167),
    "clone": (56, 220),
    "clone3": (435, 435),
}


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def call(name: str, *arguments: int | str) -> int:
    """A raw system call; text goes as a pointer to its bytes."""
    number = _NUMBERS[name][platform.machine() == "aarch64"]
    words = [a.encode() if isinstance(a, str) else ctypes.c_long(a) for a in arguments]
    return _checked(_LIBC.syscall(ctypes.c_long(number), *words))


def read(path: str) -> str:
    return Path(path).read_bytes()[:200].decode(errors="replace")


def listing(path: str) -> list[str]:
    return sorted(os.listdir(path))


def write(path: str) -> str:
    Path(path).write_text("written by the probe")
    return "written"


def write_and_read(path: str, size: int) -> int:
    Path(path).write_bytes(bytes(size))
    return Path(path).stat().st_size


def touch(path: str) -> str:
    os.utime(path)
    return "touched"


def open_up(path: str) -> str:
    os.chmod(path, 0o700)
    return "opened up"


def link(path: str) -> str:
    return os.readlink(path)


def open_files() -> dict[str, str]:
    """Target by number of every open descriptor."""
    targets: dict[str, str] = {}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            targets[number] = os.readlink(f"/proc/self/fd/{number}")
    return targets


def open_device(path: str) -> str:
    os.close(os.open(path, os.O_RDWR | os.O_NOCTTY))
    return "opened"


def make_socket(family: str) -> str:
    kind = socket.SOCK_STREAM if family in ("AF_INET", "AF_INET6", "AF_UNIX") else socket.SOCK_RAW
    with socket.socket(getattr(socket, family), kind):
        return "made"


def connect(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        return "connected"


def connect_abstract(name: str) -> str:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect("\0" + name)
        return "connected"


def pair() -> str:
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"x")
        return right.recv(1).decode()


def attach(pid: int) -> str:
    seize, interrupt_free = 0x4206, 0
    call("ptrace", seize, pid, interrupt_free, 0)
    call("ptrace", 0x4207, pid, 0, 0)  # PTRACE_INTERRUPT, since a detach wants a stopped tracee
    os.waitpid(pid, 0x40000000)  # __WALL
    call("ptrace", 17, pid, 0, 0)  # PTRACE_DETACH
    return "attached"


def peek(pid: int, address: int) -> str:
    buffer = ctypes.create_string_buffer(8)
    local = struct.pack("=QQ", ctypes.addressof(buffer), 8)
    remote = struct.pack("=QQ", address, 8)
    number = ctypes.c_long(_NUMBERS["process_vm_readv"][platform.machine() == "aarch64"])
    _checked(_LIBC.syscall(number, ctypes.c_long(pid), local, ctypes.c_long(1), remote, ctypes.c_long(1), 0))
    return buffer.raw.hex()


def send_signal(pid: int) -> str:
    os.kill(pid, 0)
    return "sent"


def limit_other(pid: int) -> str:
    resource.prlimit(pid, resource.RLIMIT_CORE)
    return "looked"


def fork() -> str:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "forked"


def spawn() -> str:
    subprocess.run(["/usr/bin/env", "true"], check=True)
    return "ran"


def execute() -> str:
    os.execv("/usr/bin/env", ["env", "true"])
    raise AssertionError("not reached")


def threads(count: int) -> int:
    """How many threads can be alive at once, of ``count``."""
    release, started = threading.Event(), 0
    try:
        for _ in range(count):
            threading.Thread(target=release.wait, daemon=True).start()
            started += 1
    except RuntimeError:
        pass
    release.set()
    return started


def allocate(size: int) -> int:
    with mmap.mmap(-1, size) as memory:
        return len(memory)


def files(count: int) -> int:
    """How many descriptors can be open at once, of ``count`` more."""
    opened: list[int] = []
    try:
        while len(opened) < count:
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        assert error.errno == errno.EMFILE
    for descriptor in opened:
        os.close(descriptor)
    return len(opened)


def burn(seconds: float) -> str:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return "burnt"


def about() -> dict[str, Any]:
    """What the program knows about itself."""
    return {
        "pid": os.getpid(),
        "ids": [os.getuid(), os.geteuid(), os.getgid()],
        "host": os.uname().nodename,
        "dumpable": call("prctl", 3, 0, 0, 0, 0),
        "no_new_privileges": call("prctl", 39, 0, 0, 0, 0),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "environment": dict(os.environ),
        "argv": sys.argv,
        "cwd": os.getcwd(),
        "interfaces": [name for _, name in socket.if_nameindex()] if _may_ask_for_interfaces() else [],
    }


def _may_ask_for_interfaces() -> bool:
    try:
        socket.if_nameindex()
    except OSError:
        return False
    return True


def imports(module: str) -> str:
    return str(__import__(module).__file__)


def crash(how: str) -> str:
    if how == "abort":
        os.abort()
    if how == "null":
        ctypes.string_at(0)
    os._exit(7)


def shout(size: int) -> int:
    """Writes much on stderr, with control characters, and ends with a plain line."""
    os.write(2, b"\x1b[31m\x00" + b"x" * size + b"\nthe last line\n")
    return size


def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


def raise_signal() -> str:
    received: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, frame: received.append(number))
    signal.raise_signal(signal.SIGUSR1)
    return "received" if received else "lost"


ATTEMPTS: dict[str, Callable[..., Any]] = {
    attempt.__name__: attempt
    for attempt in (
        call, read, listing, write, write_and_read, touch, open_up, link, open_files, open_device, make_socket,
        connect, connect_abstract, pair, attach, peek, send_signal, limit_other, fork, spawn, execute, threads,
        allocate, files, burn, about, imports, crash, shout, sleep, raise_signal,
    )
}  # fmt: skip


def answer(request: bytes) -> bytes:
    name, *arguments = json.loads(request)
    if name == "refuse":
        raise Refusal(arguments[0])
    if name == "repeat":
        return b"x" * int(arguments[0])
    try:
        return json.dumps(ATTEMPTS[name](*arguments)).encode()
    except (OSError, MemoryError, RuntimeError, ImportError) as error:
        code = errno.errorcode.get(getattr(error, "errno", None) or 0, type(error).__name__)
        return json.dumps(f"refused {code}").encode()


if __name__ == "__main__":
    serve(answer)
