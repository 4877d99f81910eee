"""Starting, ending, crashing, and what the starter learns of it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lumen_box.errors import LumenError, NotAllowed, NotFound, UsageError
from lumen_box.launcher import Confinement, Limits, Program, confinement_available, start
from lumen_box.launcher.process import STDERR_TAIL
from tests.support import probing

MEBIBYTE = 1 << 20


def _gone(pid: int, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":  # dead, and its new parent has not looked yet
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(
    ("how", "code"), [("exit", 7), ("null", -signal.SIGSEGV), ("abort", -signal.SIGSEGV)], ids=["exit", "null", "abort"]
)
def test_a_crash_ends_it_and_only_it(how: str, code: int) -> None:
    with probing.confined() as (child, ask):
        assert child.poll() is None
        with pytest.raises(EOFError):
            ask("crash", how)
        assert child.wait(10) == child.poll() == code


def test_kill_returns_when_it_is_gone() -> None:
    with probing.confined() as (child, ask):
        ask("sleep", 0)
        child.kill()
        assert not Path(f"/proc/{child.pid}").exists()
        assert child.poll() == -signal.SIGKILL
        child.kill()


def test_waiting_has_a_time_limit() -> None:
    with probing.confined() as (child, _), pytest.raises(TimeoutError):
        child.wait(0.05)


def test_it_ends_when_its_control_socket_closes() -> None:
    with probing.confined() as (child, ask):
        ask("sleep", 0)
        child.control.close()
        assert child.wait(10) == 0


@pytest.mark.parametrize("busy", [True, False])
def test_it_dies_with_its_starter(busy: bool) -> None:
    code = (
        "import sys; from tests.support import probing\n"
        "with probing.confined() as (child, ask):\n"
        "    ask('sleep', 0); print(child.pid, flush=True); ask('sleep', 60 if int(sys.argv[1]) else 0); input()\n"
    )
    command = [sys.executable, "-c", code, str(int(busy))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=probing.ROOT) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        starter.kill()
    assert _gone(pid)


def test_it_dies_when_nobody_holds_it() -> None:
    child = start(probing.program())
    pid, control = child.pid, child.control  # while this stays open it has no reason to end by itself
    assert not _gone(pid, 0.2)
    with control, pytest.warns(ResourceWarning):
        del child
        gc.collect()
        assert _gone(pid)


def test_it_dies_with_its_monitor() -> None:
    with probing.confined() as (child, _):
        status = Path(f"/proc/{child.pid}/status").read_text()
        monitor = int(status.split("PPid:")[1].split()[0])
        os.kill(monitor, signal.SIGKILL)
        assert _gone(child.pid)


def test_the_end_of_its_output_is_kept_without_control_characters() -> None:
    with probing.confined() as (child, ask):
        assert ask("shout", 4 * MEBIBYTE) == 4 * MEBIBYTE
        child.kill()
        tail = child.stderr_tail()
    assert tail.endswith("x\nthe last line\n") and len(tail) <= STDERR_TAIL
    with probing.confined() as (child, ask):
        ask("shout", 3)
        child.kill()
        assert child.stderr_tail() == "\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}xxx\nthe last line\n"


def test_memory_is_limited() -> None:
    with probing.confined() as (_, ask):
        assert ask("allocate", 600 * MEBIBYTE) == 600 * MEBIBYTE
    with probing.confined(limits=Limits(memory_bytes=512 * MEBIBYTE)) as (_, ask):
        assert ask("allocate", 600 * MEBIBYTE).startswith("refused")


def test_open_files_are_limited() -> None:
    with probing.confined(limits=Limits(open_files=20)) as (_, ask):
        assert ask("files", 100) == 20 - 4


def test_processor_time_is_limited() -> None:
    with probing.confined(limits=Limits(cpu_seconds=1)) as (child, ask):
        with pytest.raises(EOFError):
            ask("burn", 20)
        assert child.wait(10) == -signal.SIGKILL


def test_scratch_space_is_there_when_asked_for_and_limited() -> None:
    with probing.confined() as (_, ask):
        assert ask("write_and_read", "/tmp/file", 10).startswith("refused")
    with probing.confined(limits=Limits(scratch_bytes=2 * MEBIBYTE, file_bytes=MEBIBYTE)) as (_, ask):
        assert ask("write_and_read", "/tmp/file", 1000) == 1000
        assert ask("write_and_read", "/tmp/too-long", MEBIBYTE + 1) == "refused EFBIG"
        assert ask("write_and_read", "/tmp/second", MEBIBYTE) == "refused ENOSPC"


def test_what_does_not_exist_is_not_started(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="absent"):
        start(probing.program(readable=(tmp_path / "absent",)))


@pytest.mark.parametrize("path", ["/", "/proc", "/dev"])
def test_the_whole_machine_is_not_shown(path: str) -> None:
    with pytest.raises(UsageError):
        start(probing.program(readable=(Path(path),)))


def test_a_module_that_does_not_exist_says_so_on_stderr() -> None:
    with start(Program("tests.support.absent")) as child:
        assert child.wait(10) == 1
        assert "tests.support.absent" in child.stderr_tail()


def test_a_stage_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lumen_box.launcher.process._STAGE", "raise SystemExit('no stage today')")
    with pytest.raises(LumenError, match="no stage today"):
        start(probing.program())


def test_policy_decides_what_is_enough() -> None:
    here = confinement_available()
    assert here.namespaces and here.landlock and here.seccomp and str(here).startswith("namespaces, Landlock ")
    with start(probing.program(), require=here) as child:
        assert child.confinement == here
    with pytest.raises(NotAllowed, match="Landlock 1000"):
        start(probing.program(), require=Confinement(landlock=1000))


NOT_ALLOWED = """
from lumen_box.errors import NotAllowed
from lumen_box.launcher import Confinement, Program, confinement_available, start
print(confinement_available())
try:
    start(Program("lumen_box.launcher.nothing"), require=Confinement(namespaces=True))
except NotAllowed as error:
    print(error)
"""


def test_policy_may_require_namespaces_where_the_kernel_refuses_them() -> None:
    refusing = ["/usr/bin/env", *probing.REFUSING, sys.executable, "-c", NOT_ALLOWED]
    done = subprocess.run(refusing, capture_output=True, text=True, cwd=probing.ROOT, check=True)
    available, error = done.stdout.splitlines()
    assert available.startswith("Landlock ") and "The kernel refuses namespaces" in available
    assert error.startswith("A program must be held by namespaces") and "Nothing was started." in error


def test_an_ordinary_folder_of_packages_will_do(tmp_path: Path) -> None:
    """As in a wheel's site-packages, and with nothing but the standard library beside it."""
    site = tmp_path / "site-packages"
    (site / "lumen_box").mkdir(parents=True)
    for part in ("__init__.py", "errors.py", "launcher"):
        subprocess.run(["/usr/bin/env", "cp", "-r", probing.ROOT / "lumen_box" / part, site / "lumen_box"], check=True)
    code = (
        f"import sys; sys.path.append({str(site)!r})\n"
        "from lumen_box.launcher import Program, start\n"
        "with start(Program('lumen_box.launcher.nothing')) as child: print(child.wait(20), child.stderr_tail())\n"
    )
    command = [os.path.realpath(sys.executable), "-I", "-S", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=True)
    assert done.stdout.strip() == "0"
