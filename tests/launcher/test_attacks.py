"""What a confined program tries, with namespaces and where the kernel refuses them; first shown to work unconfined."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import probing
from tests.support.probing import Ask

SECRET = b"the secret in our memory"
CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET = 0x10000000, 0x00020000, 0x40000000
SESSION_KEYRING = -3


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ours that the program may read."""
    folder = tmp_path_factory.mktemp("shown")
    (folder / "library.so").write_text("shown")
    return folder


@pytest.fixture(scope="module", params=["namespaces", "no namespaces"])
def confined(request: pytest.FixtureRequest, shown: Path) -> Iterator[Ask]:
    if request.param == "namespaces":
        with probing.confined(readable=(shown,)) as (child, ask):
            assert str(child.confinement).startswith("namespaces, ")
            yield ask
    else:
        with probing.confined_without_namespaces(shown) as ask:
            assert ask("confinement").startswith("Landlock ")
            yield ask


@pytest.fixture
def plain() -> Iterator[Ask]:
    with probing.plain() as (_, ask):
        yield ask


def refused(outcome: Any) -> bool:
    return isinstance(outcome, str) and outcome.startswith("refused")


FILES = [  # attempt on a path of: a home in /tmp, our own checkout, the machine
    ("read", "{home}/vault/keyring.a"),
    ("listing", "{home}"),
    ("write", "{home}/planted"),
    ("touch", "{home}/vault/keyring.a"),
    ("read", "{checkout}/pyproject.toml"),
    ("read", "/etc/passwd"),
    ("listing", "/"),
    ("listing", "/dev"),
    ("read", "/proc/{parent}/environ"),
    ("read", "/proc/{parent}/maps"),
    ("listing", "/proc/{parent}/fd"),
    ("listing", "/proc/{parent}/root"),
    ("open_device", "/dev/tty0"),
]


@pytest.mark.parametrize(("attempt", "where"), FILES, ids=lambda value: value)
def test_files_are_out_of_reach(confined: Ask, plain: Ask, tmp_path: Path, attempt: str, where: str) -> None:
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault/keyring.a").write_text("wrapped keys")
    path = where.format(home=tmp_path, checkout=probing.ROOT, parent=os.getpid())
    if not path.startswith("/dev/tty"):
        assert not refused(plain(attempt, path))
    assert refused(confined(attempt, path))


PLACES = ["/usr/bin/planted", "{package}/planted.py", "{shown}/planted", "/planted", "/dev/planted", "/tmp/planted"]


@pytest.mark.parametrize("place", PLACES)
def test_nothing_can_be_written(confined: Ask, shown: Path, place: str) -> None:
    path = place.format(package=probing.ROOT / "lumen_box", shown=shown)
    assert refused(confined("write", path))
    assert not os.path.exists(path)


@pytest.mark.parametrize("attempt", ["touch", "open_up", "write"])
def test_what_is_shown_cannot_be_changed(confined: Ask, plain: Ask, shown: Path, attempt: str) -> None:
    ours, theirs = shown / f"{attempt}-ours", shown / f"{attempt}-theirs"
    ours.touch()
    theirs.touch()
    before = theirs.stat()
    assert not refused(plain(attempt, str(ours)))
    assert refused(confined(attempt, str(theirs)))
    assert theirs.stat() == before
    assert confined("read", str(shown / "library.so")) == "shown"


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_UNIX"])
def test_no_socket_can_be_made(confined: Ask, plain: Ask, family: str) -> None:
    if family != "AF_PACKET":  # for which an ordinary user has no right anyway
        assert plain("make_socket", family) == "made"
    assert refused(confined("make_socket", family))


def test_no_listener_outside_can_be_reached(confined: Ask, plain: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0lumen-box-test-{os.getpid()}")
        abstract.listen()
        port, name = tcp.getsockname()[1], f"lumen-box-test-{os.getpid()}"
        assert plain("connect", port) == plain("connect_abstract", name) == "connected"
        assert refused(confined("connect", port))
        assert refused(confined("connect_abstract", name))


@pytest.mark.parametrize("attempt", ["send_signal", "limit_other"])
def test_the_starter_cannot_be_touched(confined: Ask, plain: Ask, attempt: str) -> None:
    assert not refused(plain(attempt, os.getpid()))
    assert refused(confined(attempt, os.getpid()))


@pytest.fixture
def traceable() -> None:
    """Some kernels let only parents trace, unless the process itself says otherwise."""
    ctypes.CDLL(None).prctl(ctypes.c_int(0x59616D61), ctypes.c_ulong(-1 & (2**64 - 1)), 0, 0, 0)  # PR_SET_PTRACER


@pytest.mark.usefixtures("traceable")
def test_the_starters_memory_cannot_be_read(confined: Ask, plain: Ask) -> None:
    secret = ctypes.create_string_buffer(SECRET)
    address = ctypes.addressof(secret)
    assert bytes.fromhex(plain("peek", os.getpid(), address)) == SECRET[:8]
    assert refused(confined("peek", os.getpid(), address))


@pytest.mark.usefixtures("traceable")
def test_the_starter_cannot_be_traced(confined: Ask, plain: Ask) -> None:
    assert plain("attach", os.getpid()) == "attached"
    assert refused(confined("attach", os.getpid()))


@pytest.mark.parametrize("attempt", ["fork", "spawn"])
def test_no_process_can_be_started(confined: Ask, plain: Ask, attempt: str) -> None:
    assert not refused(plain(attempt))
    assert refused(confined(attempt))


def test_no_other_program_can_take_its_place(confined: Ask, plain: Ask) -> None:
    with pytest.raises(EOFError):
        plain("execute")
    assert refused(confined("execute"))


CALLS = [  # a system call and its arguments, which reach the kernel of an unconfined root
    ("unshare", CLONE_NEWUSER),
    ("unshare", CLONE_NEWNET),
    ("memfd_create", "name", 0),
    ("keyctl", 0, SESSION_KEYRING, 0),
    ("pidfd_open", 1, 0),
    ("shmget", 0x6C756D65, 0, 0),
    ("clone3", 0, 0),
    ("io_uring_setup", 1, 0),
    ("userfaultfd", -1),
    ("bpf", -1, 0, 0),
    ("perf_event_open", 0, 0, -1, -1, 0),
    ("mount", "none", "/", "tmpfs", 0, 0),
    ("setns", -1, 0),
    ("ptrace", 0, 0, 0, 0),
    ("prctl", 4, 1, 0, 0, 0),
    ("clone", CLONE_NEWUSER | 17, 0, 0, 0, 0),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call[0])
def test_the_filter_answers_before_the_kernel_does(confined: Ask, call: tuple[Any, ...]) -> None:
    assert confined("call", *call) == ("refused ENOSYS" if call[0] == "clone3" else "refused EPERM")


def test_namespaces_and_mounts_are_possible_unconfined(plain: Ask) -> None:
    assert plain("call", "memfd_create", "name", 0) > 0
    assert plain("call", "unshare", CLONE_NEWUSER | CLONE_NEWNS) == 0
    assert plain("call", "mount", "none", "/mnt", "tmpfs", 0, 0) == 0


def test_what_a_program_needs_still_works(confined: Ask) -> None:
    assert confined("pair") == "x"
    assert confined("threads", 20) == 20
    assert confined("raise_signal") == "received"
    assert confined("open_device", "/dev/null") == "opened"
    assert confined("imports", "numpy").endswith("numpy/__init__.py")
    assert confined("about")["dumpable"] == 0
