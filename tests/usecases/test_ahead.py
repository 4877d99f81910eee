"""One item ahead and no more: nothing is read into a buffer that is still being written from."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from lumen_box.usecases.ahead import ahead


class Source:
    """Counts to ``count``, then stops, or fails where ``error`` is given; remembers what it has begun."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.count, self.error, self.begun = count, error, 0
        self.threads: set[int] = set()

    def __iter__(self) -> Iterator[int]:
        for number in range(1, self.count + 1):
            self.begun = number
            self.threads.add(threading.get_ident())
            yield number
        if self.error:
            raise self.error


def test_all_items_come_in_order_and_one_is_made_meanwhile() -> None:
    source, got = Source(20), []
    with closing(ahead(iter(source))) as items:
        for item in items:
            got.append(item)
            deadline = time.monotonic() + 10
            while source.begun < min(item + 1, 20) and time.monotonic() < deadline:
                time.sleep(0.001)
            assert source.begun == min(item + 1, 20), "the next one, and not the one after it"
    assert got == list(range(1, 21))
    assert threading.get_ident() not in source.threads


def test_what_goes_wrong_comes_after_the_items_before_it() -> None:
    with closing(ahead(iter(Source(3, OSError("pulled out"))))) as items:
        assert [next(items) for _ in range(3)] == [1, 2, 3]
        with pytest.raises(OSError, match="pulled out"):
            next(items)


def test_nothing_is_made_any_more_once_it_is_closed() -> None:
    source = Source(100)
    with closing(ahead(iter(source))) as items:
        assert next(items) == 1
    begun = source.begun
    assert begun <= 2
    time.sleep(0.02)
    assert source.begun == begun
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
