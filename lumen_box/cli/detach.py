"""A gateway in the background, for machines without a service manager."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ..errors import GatewayUnreachable, Locked, LumenError, by_code
from ..paths import Home
from .common import BOX_PASSPHRASE
from .door import over_socket

START_SECONDS = 60.0
LOAD_SECONDS = 600.0
STOP_SECONDS = 40.0
TAIL = 2000  # characters of the log that are shown when it does not start


def start(home: Home, host: str | None, port: int | None, passphrase_file: Path | None) -> dict[str, Any]:
    """Starts the gateway, waits until it answers and its models are loaded, and returns its status.

    Raises what kept it from starting, with the exit code that it had.
    """
    asyncio.run(_refuse_second(home))
    command = [sys.executable, "-m", "lumen_box.cli.main", "--home", str(home.root), "serve"]
    command += ["--host", host] if host else []
    command += ["--port", str(port)] if port is not None else []
    command += ["--passphrase-file", str(passphrase_file.absolute())] if passphrase_file else []
    home.run.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(home.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    began = os.fstat(fd).st_size
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=fd,
            stderr=fd,
            start_new_session=True,
            cwd="/",
            env=_environment(),
        )
    finally:
        os.close(fd)
    return asyncio.run(_until_ready(home, child, began))


def _environment() -> dict[str, str]:
    """This process's, with the passphrase's file named so that it is found from another folder."""
    named = os.environ.get(BOX_PASSPHRASE)
    return {**os.environ, BOX_PASSPHRASE: str(Path(named).absolute())} if named else dict(os.environ)


async def _refuse_second(home: Home) -> None:
    """``Locked`` if a gateway serves this box already."""
    with contextlib.suppress(GatewayUnreachable):
        async with over_socket(home) as client:
            url = (await client.get("/api/status"))["url"]
        raise Locked(f"A gateway serves this box already, at {url}.", then="Use it, or end it with `lumen-box stop`.")


async def _until_ready(home: Home, child: subprocess.Popen[bytes], began: int) -> dict[str, Any]:
    deadline = time.monotonic() + START_SECONDS
    while True:
        if child.poll() is not None:
            raise _failed(home, child.returncode, began)
        try:
            async with over_socket(home) as client:
                status: dict[str, Any] = await client.get("/api/status")
        except GatewayUnreachable:
            if time.monotonic() > deadline:
                raise
        else:
            # The socket answers a moment before all is set up, and until then there is no address.
            if status["url"] and status["state"] != "loading":
                return status
            deadline = time.monotonic() + LOAD_SECONDS
        await asyncio.sleep(0.05)


def _failed(home: Home, code: int, began: int) -> LumenError:
    with home.log.open("rb") as log:
        log.seek(began)
        said = log.read()[-TAIL:].decode("utf-8", "replace").strip()
    kind = next((kind for kind in by_code().values() if kind.exit_code == code), LumenError)
    _, found, words = said.rpartition("lumen-box: ")
    if found:
        what, *more = (line.strip() for line in words.splitlines())
        return kind(f"The gateway did not start. {what}", then=" ".join(more))
    return kind("The gateway did not start.", then=f"{home.log} ends with: {said or 'nothing'}")


def wait_until_gone(home: Home) -> None:
    """Returns when the gateway has let go of the home: its models are unloaded then, and another may start."""
    deadline = time.monotonic() + STOP_SECONDS
    while home.socket.exists() or _held(home):
        if time.monotonic() > deadline:
            raise GatewayUnreachable("The gateway is still stopping.", then="Look again with `lumen-box status`.")
        time.sleep(0.05)


def _held(home: Home) -> bool:
    """Whether another process has the home."""
    fd = os.open(home.lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
