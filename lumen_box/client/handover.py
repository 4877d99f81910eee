"""Handing an open folder over to the gateway: the descriptor travels, the path does not."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from ..errors import GatewayUnreachable
from ..schemas.address import socket_address
from ..schemas.errors import error_from

GREETING = b"medium\n"
SECONDS = 10.0
MAX_ANSWER = 16 * 1024


def hand_over(path: Path) -> Callable[[int], Awaitable[str]]:
    """A function that turns an open folder into a ticket, at the gateway's handover socket ``path``."""

    async def give(folder: int) -> str:
        return await asyncio.to_thread(_exchange, path, folder)

    return give


def _exchange(path: Path, folder: int) -> str:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, socket_address(path) as address:
            connection.settimeout(SECONDS)
            connection.connect(address)
            socket.send_fds(connection, [GREETING], [folder])
            with connection.makefile("rb") as answer:
                said = json.loads(answer.readline(MAX_ANSWER))
    except (OSError, ValueError) as error:
        raise GatewayUnreachable(
            f"The gateway did not take the folder at {path}.", then="See `lumen-box status`, and try again."
        ) from error
    if "ticket" not in said:
        raise error_from(said)
    return str(said["ticket"])
