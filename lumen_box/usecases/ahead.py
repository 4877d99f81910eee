"""Preparing the next item while somebody works on the last: reading and hashing beside writing."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """The same items in the same order; a thread makes the next one, and no more, while this one is worked on.

    What ``items`` raises is raised in its place, after the items before it. Close it to leave early: that waits for the
    item under way, so that nothing is read any more once it is closed.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item
