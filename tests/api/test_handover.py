"""Folders handed over by descriptor: for one request, of the same user, within a minute."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lumen_box.api.app import create_app
from lumen_box.api.handover import MAX_WAITING, TICKET_SECONDS, Handover
from lumen_box.api.principal import Principal
from lumen_box.client.transport import connect
from lumen_box.clock import Clock
from lumen_box.errors import Busy, GatewayUnreachable, NotFound, UsageError

from .fakes import FakeBox
from .gateway import served
from .http import run

ME = Principal(f"uid:{os.geteuid()}", "local", roles=frozenset({"administrator"}))
OTHER = Principal("uid:4242", "local", roles=frozenset({"administrator"}))


def folder_of(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("way", ["socket", "in-process"])
def test_the_folder_arrives_though_its_path_never_did(tmp_path: Path, way: str) -> None:
    medium = tmp_path / "medium"
    medium.mkdir()
    (medium / "planted").write_text("here")

    async def scene() -> None:
        app = create_app(FakeBox())
        async with served(FakeBox(), tmp_path, app=app) as gateway:
            target: dict[str, Any] = (
                {"app": app} if way == "in-process" else {"socket": gateway.bound.socket, "handover": gateway.handover}
            )
            async with connect(**target) as client:
                fd = folder_of(medium)
                ticket = await client.hand_over(fd)
                os.close(fd)
            received = app.state.handover.claim(ticket, ME)
            assert os.listdir(received) == ["planted"] and not os.get_inheritable(received)
            os.close(received)
            with pytest.raises(NotFound):
                app.state.handover.claim(ticket, ME)

    run(scene())


def test_a_ticket_is_worth_nothing_to_another_and_nothing_later(tmp_path: Path) -> None:
    now = [0.0]
    handover = Handover(replace(Clock(), monotonic=lambda: now[0]))
    before = open_descriptors()
    ticket = handover.accept(folder_of(tmp_path), ME)
    with pytest.raises(NotFound):
        handover.claim(ticket, OTHER)
    os.close(handover.claim(ticket, ME))  # the attempt did not spend it
    late = handover.accept(folder_of(tmp_path), ME)
    now[0] = TICKET_SECONDS
    with pytest.raises(NotFound):
        handover.claim(late, ME)
    assert open_descriptors() == before


def test_how_many_wait_is_bounded_and_the_end_closes_them(tmp_path: Path) -> None:
    handover = Handover(Clock())
    before = open_descriptors()
    for _ in range(MAX_WAITING):
        handover.accept(folder_of(tmp_path), ME)
    with pytest.raises(Busy):
        handover.accept(folder_of(tmp_path), ME)
    run(handover.close())
    assert open_descriptors() == before


def test_only_a_folder_is_taken(tmp_path: Path) -> None:
    async def scene() -> None:
        async with served(FakeBox(), tmp_path) as gateway:
            before = open_descriptors()
            async with connect(socket=gateway.bound.socket, handover=gateway.handover) as client:
                for path in ("/dev/null", __file__):
                    with open(path, "rb") as file, pytest.raises(UsageError, match="not a folder"):
                        await client.hand_over(file.fileno())
            assert open_descriptors() == before

    run(scene())


@pytest.mark.parametrize(("greeting", "count"), [(b"medium\n", 0), (b"medium\n", 2), (b"other!\n", 1), (b"x", 1)])
def test_anything_but_one_folder_is_refused_and_closed(tmp_path: Path, greeting: bytes, count: int) -> None:
    def say(path: Path) -> Any:
        fds = [folder_of(tmp_path) for _ in range(count)]
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            socket.send_fds(connection, [greeting], fds)
            for fd in fds:
                os.close(fd)
            return json.loads(connection.makefile("rb").readline())

    async def scene() -> None:
        async with served(FakeBox(), tmp_path) as gateway:
            before = open_descriptors()
            answer = await asyncio.to_thread(say, gateway.handover)
            assert answer["error"]["code"] == "usage"
            assert open_descriptors() == before

    run(scene())


def test_clients_that_say_nothing_do_not_keep_others_waiting(tmp_path: Path) -> None:
    async def scene() -> None:
        async with served(FakeBox(), tmp_path) as gateway:
            silent = [socket.socket(socket.AF_UNIX) for _ in range(8)]
            for one in silent:
                one.connect(str(gateway.handover))
            async with connect(socket=gateway.bound.socket, handover=gateway.handover) as client:
                fd = folder_of(tmp_path)
                assert await client.hand_over(fd)
                os.close(fd)
            for one in silent:
                one.close()

    run(scene())


def test_over_tcp_nothing_can_be_handed_over(tmp_path: Path) -> None:
    async def scene() -> None:
        async with served(FakeBox(), tmp_path) as gateway, connect(url=gateway.bound.url, token="chat-token") as client:
            with pytest.raises(GatewayUnreachable, match="on this machine"):
                await client.hand_over(0)

    run(scene())
