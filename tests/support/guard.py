"""The pytest plugin that fails a test which tries to leave the machine, even where the test swallows the error.

In the test's own process an audit hook sees every connection and every name that is looked up, refuses those that
lead away, and remembers them. What other processes or native code do is counted by the kernel of the namespace that
``tests/run.py`` makes; two tests that run side by side share that count, so the message says "or beside it".
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from collections.abc import Callable, Generator

import pytest

from tests.support import isolation

INTERNET = (socket.AF_INET, socket.AF_INET6)
CONNECTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
LOOKUPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"})
HERE = frozenset({"", "localhost", "ip6-localhost", "ip6-loopback"})


class Guard:
    """Remembers who tried to leave since it was last asked."""

    def __init__(self) -> None:
        self._tried: list[str] = []
        self._counts = isolation.is_isolated()
        self._seen = isolation.attempts() if self._counts else 0

    def hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in CONNECTS and isinstance(arguments[0], socket.socket) and arguments[0].family in INTERNET:
            self._judge(event, arguments[1], leads_away)
        elif event in LOOKUPS:
            self._judge(event, arguments[0], is_name_elsewhere)

    def _judge(self, event: str, target: object, leaves: Callable[[object], bool]) -> None:
        if leaves(target[0] if isinstance(target, tuple) and target else target):
            self._tried.append(f"{event} {target!r}")
            raise OSError(errno.ENETUNREACH, f"The tests may not leave this machine: {target!r}")

    def news(self) -> list[str]:
        """What was tried since the last call, one sentence each."""
        news, self._tried = [f"This process tried to leave the machine: {what}." for what in self._tried], []
        if self._counts and (now := isolation.attempts()) > self._seen:
            times, self._seen = now - self._seen, now
            news.append(f"A process of this test, or of one beside it, tried to leave the machine ({times} times).")
        return news


def leads_away(host: object) -> bool:
    """Whether a connection to ``host``, an address or a name, leaves the machine."""
    try:
        address = ipaddress.ip_address(_text(host).split("%")[0])
    except ValueError:
        return is_name_elsewhere(host)
    return not (address.is_loopback or address.is_unspecified)


def is_name_elsewhere(host: object) -> bool:
    """Whether finding ``host`` needs a name server: an address, an empty name or one of this machine does not."""
    if _text(host).lower() in HERE:
        return False
    try:
        ipaddress.ip_address(_text(host).split("%")[0])
    except ValueError:
        return True
    return False


def _text(host: object) -> str:
    return host.decode("utf-8", "replace") if isinstance(host, bytes) else str(host or "")


_guard = Guard()


def pytest_configure(config: pytest.Config) -> None:
    sys.addaudithook(_guard.hook)


def pytest_report_header(config: pytest.Config) -> str:
    if isolation.is_isolated():
        return "network: a namespace with no way out"
    return "network: attempts of this process are refused; `make test` adds a namespace with no way out"


def _checked() -> Generator[None, object, object]:
    try:
        return (yield)
    finally:
        if news := _guard.news():
            pytest.fail("\n".join(news), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    return (yield from _checked())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    return (yield from _checked())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    return (yield from _checked())
