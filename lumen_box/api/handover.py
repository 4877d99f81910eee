"""Paths do not cross the gateway: a command opens a folder itself and hands over the descriptor (SCM_RIGHTS).

It gets a ticket, which one request may redeem within a minute. The ticket is bound to the principal that the kernel
says handed it over, so knowing one is worth nothing to another user. What is handed over must be a folder; how many
wait is bounded, and those not redeemed are closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from ..clock import Clock
from ..errors import Busy, LumenError, NotFound, UsageError
from ..schemas.address import socket_address
from ..schemas.errors import body_of
from .identify import Peer, by_uid
from .principal import Principal
from .responses import dumps

TICKET_SECONDS = 60.0
MAX_WAITING = 16  # descriptors that nobody has redeemed yet
MAX_CONNECTIONS = 16
MAX_FDS = 4  # room for in one message; the kernel closes the rest
EXCHANGE_SECONDS = 5.0
PAUSE = 0.5  # seconds before accepting again where no descriptor is free
GREETING = b"medium\n"


@dataclass(frozen=True)
class _Handed:
    fd: int
    owner: str
    until: float


class Handover:
    """Tickets for open folders. Also used directly where command and gateway are one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._handed: dict[str, _Handed] = {}
        self._listener: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None

    def accept(self, fd: int, principal: Principal) -> str:
        """A ticket for ``fd``, which now belongs to the handover. Raises ``UsageError`` or ``Busy`` and closes it."""
        self._drop_old()
        try:
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                raise UsageError("What was handed over is not a folder.")
            if len(self._handed) >= MAX_WAITING:
                raise Busy("Too many folders were handed over and not used.", then="Try again in a minute.")
        except LumenError:
            os.close(fd)
            raise
        ticket = secrets.token_hex(16)
        self._handed[ticket] = _Handed(fd, principal.id, self._clock.monotonic() + TICKET_SECONDS)
        return ticket

    def claim(self, ticket: str, principal: Principal) -> int:
        """The descriptor, once; the caller closes it. ``NotFound`` for a ticket unknown, used, late or another's."""
        self._drop_old()
        handed = self._handed.get(ticket)
        if handed is None or handed.owner != principal.id:
            raise NotFound("This ticket for a folder is not known, was used, or is too old.", then="Try again.")
        del self._handed[ticket]
        return handed.fd

    def _drop_old(self) -> None:
        now = self._clock.monotonic()
        for ticket in [ticket for ticket, handed in self._handed.items() if handed.until <= now]:
            os.close(self._handed.pop(ticket).fd)

    def listen(self, path: Path, mode: int = 0o600) -> None:
        """Takes descriptors at the socket ``path`` until :meth:`close`."""
        self._listener = bind_unix(path, mode)
        self._task = asyncio.get_running_loop().create_task(self._serve(self._listener))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._listener is not None:
            self._listener.close()
        while self._handed:
            os.close(self._handed.popitem()[1].fd)

    async def _serve(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        places = asyncio.Semaphore(MAX_CONNECTIONS)
        async with asyncio.TaskGroup() as group:
            while True:
                await places.acquire()
                try:
                    connection, _ = await loop.sock_accept(listener)
                except OSError:  # no descriptor is free just now: whoever waits will be taken later
                    places.release()
                    await asyncio.sleep(PAUSE)
                    continue
                task = group.create_task(self._exchange(connection))
                task.add_done_callback(lambda _: places.release())

    async def _exchange(self, connection: socket.socket) -> None:
        """One descriptor in, one line out: the ticket or an error."""
        loop = asyncio.get_running_loop()
        with connection, contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(EXCHANGE_SECONDS):
                await _readable(connection)
                try:
                    answer = {"ticket": self._take(connection)}
                except LumenError as error:
                    answer = body_of(error)
                await loop.sock_sendall(connection, dumps(answer) + b"\n")

    def _take(self, connection: socket.socket) -> str:
        data, fds = _receive(connection)
        try:
            principal = by_uid(peer_of(connection).uid)
            if data != GREETING or len(fds) != 1:
                raise UsageError("Exactly one folder is handed over at a time.")
            return self.accept(fds.pop(), principal)
        finally:
            for fd in fds:
                os.close(fd)


def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """A greeting and up to ``MAX_FDS`` descriptors, none of which a child of ours would inherit.

    Not by ``socket.recv_fds``: that drops its flags in Python 3.11.
    """
    room = socket.CMSG_LEN(MAX_FDS * struct.calcsize("i"))
    data, control, _, _ = connection.recvmsg(len(GREETING), room, socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, content in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            whole = len(content) - len(content) % struct.calcsize("i")
            fds.extend(fd for (fd,) in struct.iter_unpack("i", content[:whole]))
    return data, fds


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection)


def peer_of(connection: socket.socket) -> Peer:
    """Who connected, as the kernel says (SO_PEERCRED)."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", data)
    return Peer(uid, pid)


def bind_unix(path: Path, mode: int) -> socket.socket:
    """A listening, non-blocking socket at ``path``. One left by a process that died is replaced: we hold the lock."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket_address(path) as address:
            listener.bind(address)
        path.chmod(mode)  # nobody can connect before listen()
        listener.listen(128)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
