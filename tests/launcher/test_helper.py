"""Helpers: one request, one answer, within limits."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lumen_box.launcher import (
    Helper,
    HelperCrashed,
    HelperOverflow,
    HelperRefused,
    HelperTimeout,
    Limits,
    Program,
    run_helper,
)
from tests.support import probing

CAP = 10_000


def _request(*attempt: Any) -> bytes:
    return json.dumps(attempt).encode()


@pytest.fixture
def helper() -> Iterator[Helper]:
    with Helper(probing.program(), timeout=20, output_cap=CAP) as found:
        yield found


def test_requests_are_answered_by_one_process(helper: Helper) -> None:
    first = json.loads(helper.request(_request("about")))
    started = time.monotonic()
    assert all(helper.request(_request("pair")) == b'"x"' for _ in range(50))
    assert time.monotonic() - started < 2
    assert first["pid"] == 1


BREAKING = [
    (_request("sleep", 60), HelperTimeout),
    (_request("burn", 60), HelperTimeout),
    (_request("repeat", CAP + 1), HelperOverflow),
    (_request("repeat", 2**31), HelperCrashed),
    (_request("crash", "null"), HelperCrashed),
    (b"not what it reads", HelperCrashed),
]


@pytest.mark.parametrize(("request_", "error"), BREAKING, ids=["sleeps", "burns", "long", "huge", "crashes", "raises"])
def test_one_that_breaks_a_limit_is_replaced(request_: bytes, error: type[Exception]) -> None:
    program = probing.program(limits=Limits(memory_bytes=1 << 30))
    with Helper(program, timeout=20, output_cap=CAP) as helper:
        assert helper.request(_request("pair")) == b'"x"'
        with pytest.raises(error):
            helper.request(request_, timeout=0.5 if error is HelperTimeout else None)
        assert helper.request(_request("repeat", CAP)) == b"x" * CAP


def test_a_crash_says_what_was_last_on_stderr(helper: Helper) -> None:
    with pytest.raises(HelperCrashed, match="JSONDecodeError"):
        helper.request(b"not what it reads")


def test_a_refusal_is_about_the_request_and_the_helper_lives_on(helper: Helper) -> None:
    with pytest.raises(HelperRefused, match=r"^this will not do$"):
        helper.request(_request("refuse", "this will not do"))
    assert helper.request(_request("pair")) == b'"x"'


def test_a_refusal_is_short(helper: Helper) -> None:
    with pytest.raises(HelperOverflow):
        helper.request(_request("refuse", "x" * 5000))


def test_threads_take_turns(helper: Helper) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda size: helper.request(_request("repeat", size)), range(100, 140)))
    assert [len(answer) for answer in answers] == list(range(100, 140))


def test_a_large_request_is_taken_whole() -> None:
    with Helper(probing.program(), timeout=20, output_cap=CAP) as helper, pytest.raises(HelperRefused, match="ok"):
        helper.request(json.dumps(["refuse", "ok", "x" * (5 << 20)]).encode())


def test_closing_kills_it() -> None:
    before = threading.active_count()
    helper = Helper(probing.program(), timeout=20, output_cap=CAP)
    helper.request(_request("pair"))
    helper.close()
    helper.close()
    assert threading.active_count() == before


def test_one_request_needs_one_call() -> None:
    assert run_helper(probing.program(), _request("pair"), timeout=20, output_cap=CAP) == b'"x"'
    assert run_helper("tests.support.probe", _request("pair"), timeout=20, output_cap=CAP) == b'"x"'


def test_one_that_never_serves_is_noticed() -> None:
    with pytest.raises(HelperCrashed):
        run_helper(Program("lumen_box.launcher.nothing"), b"", timeout=20, output_cap=CAP)
