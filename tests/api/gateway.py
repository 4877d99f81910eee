"""The real gateway on real sockets, in the test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from lumen_box.api.app import create_app
from lumen_box.api.ports import Box
from lumen_box.api.server import Bound, Gateway, Listen

from .http import CHAT


@dataclass
class Served:
    app: FastAPI
    gateway: Gateway
    bound: Bound
    task: asyncio.Task[None]
    handover: Path

    @property
    def port(self) -> int:
        return int(self.bound.url.rpartition(":")[2])

    async def tcp(self, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, **options)


@contextlib.asynccontextmanager
async def served(box: Box, folder: Path, *, grace: float = 0.0, app: FastAPI | None = None) -> AsyncIterator[Served]:
    app = app or create_app(box)
    listen = Listen(folder / "gateway.sock", folder / "handover.sock")
    gateway = Gateway(app, listen, grace=grace)
    bounds: list[Bound] = []
    task = asyncio.create_task(gateway.run(bounds.append, signals=False))
    while not bounds and not task.done():
        await asyncio.sleep(0.002)
    if task.done():
        await task
    try:
        yield Served(app, gateway, bounds[0], task, listen.handover)
    finally:
        gateway.stop()
        await task


def request(path: str = "/v1/chat/completions", body: Any = CHAT, **more: str) -> bytes:
    """The bytes of one HTTP/1.1 request."""
    data = json.dumps(body).encode()
    headers = {"Host": "localhost", "Authorization": "Bearer chat-token", "Content-Length": str(len(data)), **more}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


async def until(condition: Any, seconds: float = 5.0) -> None:
    """Waits until ``condition()`` holds; fails where it never does."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
