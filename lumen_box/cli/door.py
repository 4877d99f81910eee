"""How a command reaches the box: through the running gateway, or, where none runs, by being it for a moment.

There is one application. Where a gateway holds the home, the command talks to its socket. Where none does,
administration opens the box in this process, under the home's lock, and talks to the very same application without a
socket; asking a model then fails with 30, since nothing is loaded.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from ..errors import GatewayUnreachable, NoBox, NotAllowed
from ..paths import Home
from .common import BOX_PASSPHRASE, home_of, read_passphrase

if TYPE_CHECKING:
    from ..client.transport import Client

T = TypeVar("T")
Work = Callable[["Client"], Awaitable[T]]


def administer(context: typer.Context, work: Work[T], *, passphrase_file: Path | None, keys: bool = True) -> T:
    """Runs ``work`` with a client of the box, opened here if no gateway runs; ``keys`` says whether it needs any.

    Raises whatever the box raises, ``NoBox`` where there is none, ``Locked`` where another command is at work.
    """
    home = home_of(context)
    require_box(home)

    import asyncio

    async def run() -> T:
        async with _either(home, passphrase_file, keys) as client:
            return await work(client)

    return asyncio.run(run())


def use(context: typer.Context, work: Work[T]) -> T:
    """Runs ``work`` with a client of the running gateway; ``GatewayUnreachable`` where there is none."""
    home = home_of(context)
    require_box(home)

    import asyncio

    async def run() -> T:
        async with over_socket(home) as client:
            return await work(client)

    return asyncio.run(run())


def require_box(home: Home) -> None:
    """``NoBox`` or ``NotAllowed``, with what to do about it."""
    try:
        if home.identity.exists():
            return
    except PermissionError:
        raise NotAllowed(
            f"You may not open the box in {home.root}.", then="Run the command as the user the box belongs to."
        ) from None
    raise NoBox(f"There is no box in {home.root}.", then="Run `lumen-box init` to make one.")


@contextlib.asynccontextmanager
async def over_socket(home: Home) -> AsyncIterator[Client]:
    """A client of the gateway of ``home``, which is known to answer."""
    from ..client.transport import answers, connect

    if home.socket.exists():
        async with connect(socket=home.socket, handover=home.handover) as client:
            if await answers(client):
                yield client
                return
    raise GatewayUnreachable("No gateway runs for this box.", then="Start it with `lumen-box serve --detach`.")


@contextlib.asynccontextmanager
async def _either(home: Home, passphrase_file: Path | None, keys: bool) -> AsyncIterator[Client]:
    async with contextlib.AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(over_socket(home))
        except GatewayUnreachable:
            client = await stack.enter_async_context(_in_process(home, passphrase_file, keys))
        yield client


@contextlib.asynccontextmanager
async def _in_process(home: Home, passphrase_file: Path | None, keys: bool) -> AsyncIterator[Client]:
    from ..client.transport import connect
    from ..usecases.box import Box
    from ..usecases.slots import opens_by_itself
    from .gateway import application, closing

    async with closing(Box(home)) as appliance, connect(app=application(appliance)) as client:
        if keys and (passphrase_file is not None or not opens_by_itself(appliance)):
            await unlock(client, passphrase_file)
        yield client


async def unlock(client: Client, passphrase_file: Path | None) -> None:
    """Opens a sealed box with a passphrase from a file or the terminal."""
    secret = read_passphrase(passphrase_file, BOX_PASSPHRASE, "Passphrase of the box")
    await client.post("/api/unlock", {"kind": "passphrase", "secret": base64.b64encode(secret).decode()})
