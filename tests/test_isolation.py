"""The tests' own guarantee: nothing leaves, and whoever tries is noticed. First it is shown that trying is noticed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RUN = ROOT / "tests" / "run.py"

# What an inner test does, and whether that is leaving. Those in a child run where no hook of Python can see them.
INNER = {
    "connects_and_swallows": ("tcp('192.0.2.9')", True),
    "connects_over_ipv6": ("tcp('2001:db8::1', socket.AF_INET6)", True),
    "sends_a_datagram": ("udp('198.51.100.7')", True),
    "looks_a_name_up": ("name('models.example')", True),
    "child_connects": ("child('tcp(\"192.0.2.9\")')", True),
    "child_connects_over_ipv6": ("child('tcp(\"2001:db8::1\", socket.AF_INET6)')", True),
    "child_sends_a_datagram": ("child('udp(\"198.51.100.7\")')", True),
    "child_looks_a_name_up": ("child('name(\"models.example\")')", True),
    "serves_and_connects_here": ("here('127.0.0.1', socket.AF_INET)", False),
    "serves_and_connects_here_over_ipv6": ("here('::1', socket.AF_INET6)", False),
    "looks_localhost_up": ("name('localhost')", False),
    "talks_over_a_unix_socket": ("unix()", False),
    "child_looks_localhost_up": ("child('name(\"localhost\")')", False),
}
# What the inner tests and their children have in common.
LEAVING = """
import contextlib, os, socket, subprocess, sys, tempfile

def tcp(host, family=socket.AF_INET):
    with socket.socket(family) as s, contextlib.suppress(OSError):
        s.connect((host, 443))

def udp(host):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s, contextlib.suppress(OSError):
        s.sendto(b"x", (host, 53))

def name(host):
    with contextlib.suppress(OSError):
        socket.getaddrinfo(host, 443)

def here(host, family):
    with socket.socket(family) as server:
        server.bind((host, 0))
        server.listen()
        socket.create_connection(server.getsockname()[:2]).close()

def unix():
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        os.chdir(folder)
        server.bind("gateway.sock")
        server.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("gateway.sock")

def child(code):
    subprocess.run([sys.executable, "-c", "from leaving import *; " + code], check=True)
"""


def inner_pytest(folder: Path, tests: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_inner.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return subprocess.run(
        [sys.executable, RUN, "-p", "no:cacheprovider", "-n", "0", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{folder}"},
        capture_output=True,
        text=True,
    )


def test_every_attempt_to_leave_fails_its_test_and_nothing_else_does(tmp_path: Path) -> None:
    (tmp_path / "leaving.py").write_text(LEAVING)
    tests = "".join(f"def test_{name}():\n    {code}\n\n" for name, (code, _) in INNER.items())
    answer = inner_pytest(tmp_path, "from leaving import *\n\n" + tests, "-p", "tests.support.guard", "-rA")
    assert "network: a namespace with no way out" in answer.stdout
    lines = [line.partition("::test_")[::2] for line in answer.stdout.splitlines()]
    failed = {what.split(" ")[0]: what for verdict, what in lines if verdict.startswith("FAILED ")}
    passed = {what for verdict, what in lines if verdict.startswith("PASSED ")}
    assert set(failed) == {name for name, (_, leaves) in INNER.items() if leaves}
    assert passed == {name for name, (_, leaves) in INNER.items() if not leaves}
    assert all(" - Failed: " in line for line in failed.values()), "the guard fails them, not an error of their own"


def inside(code: str) -> str:
    """What ``code`` prints in a fresh namespace."""
    program = "from tests.support import isolation; isolation.enter()\n" + textwrap.dedent(code)
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_the_namespace_has_a_loopback_and_nothing_else() -> None:
    printed = inside(
        """
        import socket, pathlib
        print(sorted(name for _, name in socket.if_nameindex()))
        print(len(pathlib.Path("/proc/self/net/route").read_text().splitlines()) - 1, "routes")
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname()).close()
            print("loopback")
        """
    )
    assert printed.splitlines() == ["['lo']", "0 routes", "loopback"]


def test_whoever_runs_the_tests_stays_who_they_are() -> None:
    assert inside("import os; print(os.getuid(), os.getgid())").split() == [str(os.getuid()), str(os.getgid())]


def test_a_kernel_that_refuses_is_named_and_no_test_is_run(tmp_path: Path) -> None:
    forbid = f"""
        import ctypes, os
        from pathlib import Path
        uid, gid = os.getuid(), os.getgid()
        ctypes.CDLL(None).unshare(0x10000000)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {{uid}} 1")
        Path("/proc/self/gid_map").write_text(f"0 {{gid}} 1")
        Path("/proc/sys/user/max_net_namespaces").write_text("0")
        os.execv({sys.executable!r}, [{sys.executable!r}, {str(RUN)!r}, {str(tmp_path)!r}])
    """
    answer = subprocess.run([sys.executable, "-c", textwrap.dedent(forbid)], capture_output=True, text=True)
    assert answer.returncode == 3
    assert answer.stdout == ""
    assert "This kernel does not allow it" in answer.stderr


@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"])
def test_libraries_get_one_thread_each(tmp_path: Path, variable: str) -> None:
    answer = inner_pytest(tmp_path, f"import os\n\ndef test_it():\n    assert os.environ[{variable!r}] == '1'\n")
    assert answer.returncode == 0, answer.stdout
