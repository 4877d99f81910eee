"""The gateway's side of one connection, on top of uvicorn's h11 protocol.

It adds who is at the other end of a Unix socket; a deadline for the head of each request; a bound on TCP connections,
so that strangers cannot use up the descriptors the socket's users need; and a bound on what a client may go on sending
after it was answered.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .handover import peer_of
from .identify import Peer

HEAD_SECONDS = 15.0  # from the first byte of a request, or of a connection, to the end of its headers
MAX_TCP_CONNECTIONS = 1024
MAX_DISCARDED = 64 * 1024 * 1024  # bytes of a body that nobody reads any more


class GatewayProtocol(H11Protocol):
    """``request.state.peer`` is the ``Peer`` of a Unix socket; ``request.state.abort()`` drops the connection."""

    peer: Peer | None = None
    head_seconds = HEAD_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._discarded = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family == socket.AF_UNIX:
            self.peer = peer_of(connection)
        elif sum(getattr(one, "peer", None) is None for one in self.connections) > MAX_TCP_CONNECTIONS:
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
        else:
            self._forget_head()
        self._discarded = self._discarded + len(data) if answered else 0
        if self._discarded > MAX_DISCARDED:
            self.transport.abort()

    def on_response_complete(self) -> None:
        self._forget_head()  # between requests uvicorn's own keep-alive timer runs
        super().on_response_complete()

    def _expect_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _forget_head(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
