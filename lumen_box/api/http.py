"""The gateway's side of one connection, on top of uvicorn's h11 protocol.

It adds who is at the other end of a Unix socket; a deadline for the head of each request; a bound on TCP connections,
so that strangers cannot use up the descriptors the socket's users need; and bounds, in bytes and in time, on what a
client may go on sending after it was answered.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .handover import peer_of
from .identify import Peer

HEAD_SECONDS = 15.0  # from the first byte of a request, or of a connection, to the end of its headers
MAX_TCP_CONNECTIONS = 1024
OTHER_DESCRIPTORS = 192  # of this process, for everything but TCP connections: files, engines, local users
DISCARD_SECONDS = 30.0  # for the rest of a body that nobody reads any more
MAX_DISCARDED = 64 * 1024 * 1024  # bytes of a body that nobody reads any more


class GatewayProtocol(H11Protocol):
    """``request.state.peer`` is the ``Peer`` of a Unix socket; ``request.state.abort()`` drops the connection."""

    peer: Peer | None = None
    head_seconds = HEAD_SECONDS
    discard_seconds = DISCARD_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._discarded = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family == socket.AF_UNIX:
            self.peer = peer_of(connection)
        elif sum(getattr(one, "peer", None) is None for one in self.connections) > most_tcp_connections():
            transport.abort()
            return
        self.app_state = {**self.app_state, "peer": self.peer, "abort": transport.abort}
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        answered = self.conn.our_state is h11.DONE
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._expect_head()
        elif self.conn.our_state is not h11.DONE:  # else it is still the rest of a body, and gets no more time for it
            self._forget_head()
        self._discarded = self._discarded + len(data) if answered else 0
        if self._discarded > MAX_DISCARDED:
            self.transport.abort()

    def on_response_complete(self) -> None:
        self._forget_head()  # between requests uvicorn's own keep-alive timer runs
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:  # answered before it was heard out, as strangers are
            self._deadline = self.loop.call_later(self.discard_seconds, self.transport.abort)

    def _expect_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _forget_head(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def most_tcp_connections() -> int:
    """How many strangers may be connected at once: fewer where this process may open few files."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(MAX_TCP_CONNECTIONS, descriptors - OTHER_DESCRIPTORS))
