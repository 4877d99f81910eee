"""Asking the application, without a socket where none is tested."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import httpx
from fastapi import APIRouter, FastAPI

from lumen_box.api.app import create_app
from lumen_box.api.ports import Box
from lumen_box.client.inprocess import InProcess
from lumen_box.schemas.sse import Decoder

T = TypeVar("T")
USER = {"role": "user", "content": "Hello"}
CHAT: dict[str, Any] = {"model": "clinical", "messages": [USER]}


def run(work: Coroutine[Any, Any, T]) -> T:
    """``work`` to its end, and no task left behind."""

    async def bounded() -> T:
        async with asyncio.timeout(20):
            return await work

    return asyncio.run(bounded())


@contextlib.asynccontextmanager
async def asking(box: Box, *routers: APIRouter, app: FastAPI | None = None) -> AsyncIterator[httpx.AsyncClient]:
    transport = InProcess(app or create_app(box, routers))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


def post(box: Box, path: str, body: Any, **more: Any) -> httpx.Response:
    """One request by the box's own user; ``body`` is JSON, or bytes as they are."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json"} | more.pop("headers", {})

    async def once() -> httpx.Response:
        async with asking(box) as client:
            return await client.post(path, content=data, headers=headers, **more)

    return run(once())


def get(box: Box, path: str, **more: Any) -> httpx.Response:
    async def once() -> httpx.Response:
        async with asking(box) as client:
            return await client.get(path, **more)

    return run(once())


def chat(box: Box, **members: Any) -> httpx.Response:
    return post(box, "/v1/chat/completions", CHAT | members)


def events(response: httpx.Response) -> list[Any]:
    """The events of a stream, ``[DONE]`` as the text it is."""
    return [
        event.data if event.data == "[DONE]" else json.loads(event.data) for event in Decoder().feed(response.content)
    ]


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error in OpenAI's shape; fails where it is not in that shape."""
    body = response.json()
    assert set(body) == {"error"}
    assert {"message", "type", "param", "code"} <= set(body["error"]), body
    error: dict[str, Any] = body["error"]
    return error
