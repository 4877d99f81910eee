"""Long work over HTTP: progress as it happens, one last line, and an end when the client leaves."""

from __future__ import annotations

import asyncio
import threading
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends

from lumen_box.api.app import create_app
from lumen_box.api.authorise import Action
from lumen_box.api.deps import may
from lumen_box.api.events import Progress, Work
from lumen_box.api.principal import Principal
from lumen_box.client.transport import connect
from lumen_box.errors import Damaged, Interrupted, LumenError
from lumen_box.progress import Advance, Event, Note, Report, Step

from .fakes import FakeBox
from .http import asking, run


def routed(work: Work) -> APIRouter:
    router = APIRouter()

    @router.post("/api/work")
    async def go(principal: Annotated[Principal, Depends(may(Action.MANAGE_MODELS))]) -> Any:
        return Progress(work)

    return router


def done(work: Work) -> tuple[Any, list[Event]]:
    """The work's result and what it reported, through our own client."""
    seen: list[Event] = []

    async def scene() -> Any:
        async with connect(app=create_app(FakeBox(), [routed(work)])) as client:
            return await client.work("/api/work", report=seen.append)

    return run(scene()), seen


EVENTS: list[Event] = [Step("Copying"), Advance(1, 3), Advance(3, 3, "files"), Note("Fine\nreally.")]


def test_reports_arrive_in_order_and_the_result_last() -> None:
    def work(report: Report) -> Any:
        for event in EVENTS:
            report(event)
        return {"name": "clinical", "tokens": [1, 2]}

    assert done(work) == ({"name": "clinical", "tokens": [1, 2]}, EVENTS)


def test_a_report_is_seen_before_the_work_is_over() -> None:
    """The work waits for the client to have seen its first report: it would hang if reports were saved up."""
    seen = threading.Event()

    def work(report: Report) -> Any:
        report(Step("first"))
        return seen.wait(10)

    async def scene() -> Any:
        async with connect(app=create_app(FakeBox(), [routed(work)])) as client:
            return await client.work("/api/work", report=lambda event: seen.set())

    assert run(scene()) is True


@pytest.mark.parametrize("reported", [False, True])
def test_an_error_is_the_same_error_at_the_client(reported: bool) -> None:
    def work(report: Report) -> Any:
        if reported:
            report(Step("Reading"))
        raise Damaged("Segment 3 is wrong.", kept="Nothing was installed.", then="Get a new medium.")

    with pytest.raises(Damaged) as raised:
        done(work)
    error = raised.value
    assert (error.what, error.kept, error.then) == (
        "Segment 3 is wrong.",
        "Nothing was installed.",
        "Get a new medium.",
    )


def test_an_error_before_any_report_has_its_own_status() -> None:
    def work(report: Report) -> Any:
        raise Damaged("wrong")

    async def scene() -> int:
        async with asking(FakeBox(), routed(work)) as client:
            return (await client.post("/api/work")).status_code

    assert run(scene()) == 422


def test_a_fault_tells_nothing_of_itself() -> None:
    def work(report: Report) -> Any:
        report(Step("x"))
        raise KeyError("secret detail")

    with pytest.raises(LumenError) as raised:
        done(work)
    assert type(raised.value) is LumenError and "secret" not in str(raised.value)


def test_when_the_client_leaves_the_work_is_interrupted_and_cleans_up() -> None:
    ended: list[str] = []
    began = threading.Event()

    def work(report: Report) -> Any:
        try:
            while True:
                report(Advance(1, 2))
                began.set()
        except Interrupted:
            ended.append("interrupted")
            raise
        finally:
            ended.append("cleaned")

    async def scene() -> None:
        async with asking(FakeBox(), routed(work)) as client:
            async with client.stream("POST", "/api/work"):
                await asyncio.to_thread(began.wait, 10)
            assert ended == ["interrupted", "cleaned"]  # over before the request is

    run(scene())


def test_the_whole_work_runs_in_one_thread_which_is_not_the_loops() -> None:
    threads: set[int] = set()

    def work(report: Report) -> Any:
        for _ in range(5):
            threads.add(threading.get_ident())
            report(Step("x"))
        return None

    assert done(work)[0] is None
    assert len(threads) == 1 and threading.get_ident() not in threads
