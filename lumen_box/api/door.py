"""The first thing every request meets: which host it means, and who sends it.

Over TCP the Host header must name this machine, or a page on another site could reach the gateway through a name of
its own (DNS rebinding). Then the principal is found and put into the request's state. Only liveness and readiness are
open to strangers. Nothing of the body has been read by then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from ..errors import LumenError, NotAllowed
from ..schemas.errors import WrongHost
from .identify import Peer, identify
from .ports import Box
from .principal import Principal
from .responses import error_response, unexpected

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = frozenset({"/health/live", "/health/ready"})
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_ALWAYS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


class Door:
    """Pure ASGI, so that a stream costs no extra task."""

    def __init__(self, app: Application, box: Box, hosts: Iterable[str] = ()) -> None:
        self._app, self._box = app, box
        self._hosts = LOCAL_NAMES | {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headed = _with_headers(send)
        try:
            self._check(scope)
        except LumenError as error:
            if isinstance(error, NotAllowed | WrongHost):
                peer: Peer | None = scope["state"].get("peer")
                self._box.refused(error, f"uid:{peer.uid}" if peer else "tcp")
            await error_response(error)(scope, receive, headed)
        except Exception as error:
            await error_response(unexpected(error))(scope, receive, headed)
        else:
            await self._app(scope, receive, headed)

    def _check(self, scope: Scope) -> None:
        state = scope.setdefault("state", {})
        peer: Peer | None = state.get("peer")
        if peer is None:
            self._check_host(scope)
        state["principal"] = self._principal(scope, peer)

    def _check_host(self, scope: Scope) -> None:
        named = _headers(scope, b"host")
        if len(named) != 1 or _without_port(named[0].lower()) not in self._hosts:
            raise WrongHost(
                "The Host header of this request does not name this machine.",
                then="Use http://127.0.0.1 or http://localhost with the gateway's port.",
            )

    def _principal(self, scope: Scope, peer: Peer | None) -> Principal | None:
        if scope["path"] in OPEN:
            return None
        sent = _headers(scope, b"authorization")
        # Two such headers are one too many to choose from: together they are no token either.
        authorization = ",".join(sent) if sent else None
        return identify(peer, authorization, self._box.tokens)


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _without_port(host: str) -> str:
    """``localhost:8180`` → ``localhost``; ``[::1]:8180`` → ``[::1]``."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() and not name.endswith(":") else host


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *_ALWAYS]
        await send(message)

    return sending
