"""What is seen of a confined program from outside, through /proc."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from lumen_box.launcher import Limits
from tests.support import probing
from tests.support.probing import Ask

T = TypeVar("T")

NAMESPACES = ("user", "mnt", "net", "pid", "ipc", "uts", "cgroup")


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _of_monitor(pid: int, entry: str) -> Path:
    return Path("/proc", _status(pid)["PPid"], entry)


def _only_root(look: Callable[[], T], otherwise: T) -> T:
    """What root sees of an undumpable process; anybody else, its starter too, is refused."""
    if os.geteuid() == 0:
        return look()
    with pytest.raises(PermissionError):
        look()
    return otherwise


def _open_files(pid: int, ask: Ask) -> dict[str, str]:
    folder = Path(f"/proc/{pid}/fd")
    return _only_root(lambda: {entry.name: os.readlink(entry) for entry in folder.iterdir()}, ask("open_files"))


# Root may look into everything, so it gives up that one right first; anybody else has none.
WITHOUT_THE_RIGHT = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 19, 0, 0, 0);"  # PR_CAPBSET_DROP, CAP_SYS_PTRACE
    "os.execv(sys.executable, [sys.executable, '-c', *sys.argv[1:]])"
)
LOOK_INTO = (
    "import ctypes, os, sys, time; pid = int(sys.argv[1]) or os.fork() or time.sleep(60);"
    "print(ctypes.CDLL(None).ptrace(0x4206, pid, None, None)); sys.argv[1] == '0' and os.kill(pid, 9)"  # PTRACE_SEIZE
)


def _looked_into(pid: int) -> bool:
    """Whether another process of our own user may attach to ``pid``; 0 stands for a child of that process."""
    command = [sys.executable, "-c", WITHOUT_THE_RIGHT, LOOK_INTO, str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout == "0\n"


def test_its_own_user_cannot_look_into_it() -> None:
    """Whoever makes a user namespace has every right over what was executed in it, dumpable or not."""
    assert _looked_into(0)
    with probing.confined() as (child, ask):
        assert ask("about")["dumpable"] == 0
        assert not _looked_into(child.pid)


def test_it_lives_in_namespaces_of_its_own() -> None:
    with probing.plain() as (_, plain), probing.confined() as (child, _):
        for name in NAMESPACES:
            ours = os.readlink(f"/proc/self/ns/{name}")
            assert plain("link", f"/proc/self/ns/{name}") == ours
            assert os.readlink(f"/proc/{child.pid}/ns/{name}") != ours


def test_its_only_interface_is_a_loopback_that_is_down() -> None:
    with probing.confined() as (child, _):
        lines = Path(f"/proc/{child.pid}/net/dev").read_text().splitlines()[2:]
        assert [line.split(":")[0].strip() for line in lines] == ["lo"]
        assert Path(f"/proc/{child.pid}/net/route").read_text().splitlines()[1:] == []


def test_it_has_no_rights_and_no_way_to_get_any() -> None:
    with probing.confined() as (child, ask):
        about = ask("about")  # when it answers, it has done its own part too
        status = _status(child.pid)
    assert {status[f"Cap{which}"] for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"], status["Seccomp_filters"]) == ("1", "2", "2")
    assert (about["dumpable"], about["core"], about["no_new_privileges"]) == (0, [0, 0], 1)
    assert (about["pid"], about["ids"], about["host"], about["cwd"]) == (1, [1000, 1000, 1000], "sandbox", "/")


def test_no_secret_of_ours_is_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUMEN_BOX_PASSPHRASE_FILE", "/somewhere/passphrase")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with probing.plain() as (_, plain):
        assert "LUMEN_BOX_PASSPHRASE_FILE" in plain("about")["environment"]
    with probing.confined(environment={"MARKER": "given"}) as (child, ask):
        about = ask("about")
        assert b"LUMEN_BOX" not in _only_root(Path(f"/proc/{child.pid}/environ").read_bytes, b"")
        assert b"LUMEN_BOX" not in _of_monitor(child.pid, "environ").read_bytes()
    given = about["environment"]
    assert (given["MARKER"], given["GGML_NO_BACKTRACE"], given["OMP_NUM_THREADS"]) == ("given", "1", "3")
    assert not any(name.startswith("LUMEN") for name in given)
    assert about["argv"] == [str(probing.ROOT / "tests/support/probe.py")]


def test_it_holds_nothing_of_ours_open(tmp_path: Path) -> None:
    with (tmp_path / "keyring.a").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        with probing.plain(close_fds=False) as (pid, ask):
            assert str(tmp_path / "keyring.a") in _open_files(pid, ask).values()
        with probing.confined() as (child, ask):
            ask("sleep", 0)
            opened = _open_files(child.pid, ask)
            of_monitor = [os.readlink(entry) for entry in _of_monitor(child.pid, "fd").iterdir()]
    kinds = {number: target.split(":")[0] for number, target in opened.items()}
    assert kinds == {"0": "/dev/null", "1": "pipe", "2": "pipe", "3": "socket"}
    assert str(tmp_path / "keyring.a") not in of_monitor


def test_many_open_files_of_ours_change_nothing() -> None:
    ends = [end for _ in range(60) for end in os.pipe()]
    try:
        for end in ends:
            os.set_inheritable(end, True)
        with probing.confined() as (_, ask):
            assert sorted(ask("open_files")) == ["0", "1", "2", "3"]
    finally:
        for end in ends:
            os.close(end)


def test_its_root_holds_only_what_is_shown_and_only_to_read(tmp_path: Path) -> None:
    (tmp_path / "shown").mkdir()
    (tmp_path / "hidden").mkdir()
    with probing.confined(readable=(tmp_path / "shown",)) as (child, _):
        root = Path(f"/proc/{child.pid}/root")
        assert sorted(os.listdir(f"{root}{tmp_path}")) == ["shown"]
        assert {"home", "boot", "srv", "var", ".old"}.isdisjoint(os.listdir(root))
        mounts = [line.split() for line in Path(f"/proc/{child.pid}/mounts").read_text().splitlines()]
        writable = {mount[1] for mount in mounts if "ro" not in mount[3].split(",")}
        assert all(path.startswith("/dev/") and stat.S_ISCHR(os.stat(f"{root}{path}").st_mode) for path in writable)
        assert all("nosuid" in mount[3] for mount in mounts)


def test_it_keeps_the_machines_own_files_of_proc_out() -> None:
    with probing.confined() as (_, ask):
        assert ask("read", "/proc/self/status").startswith("Name:")
        for name in ("meminfo", "cmdline", "sys/kernel/hostname", "kallsyms"):
            assert ask("read", f"/proc/{name}") == "refused ENOENT"


def test_what_is_named_is_readable_and_a_link_leads_to_its_target(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/library.so").write_text("shown")
    (tmp_path / "link").symlink_to("real")
    with probing.confined(readable=(tmp_path / "link",)) as (_, ask):
        assert ask("read", str(tmp_path / "real/library.so")) == "shown"


def test_a_device_is_there_when_it_is_passed() -> None:
    with probing.confined() as (_, ask):
        assert ask("open_device", "/dev/tty") == "refused ENOENT"
    with probing.confined(devices=(Path("/dev/tty"),)) as (_, ask):
        assert ask("open_device", "/dev/tty") == "refused ENXIO"  # reached: there is only no terminal behind it
        assert "devices" in ask("listing", "/sys") and not ask("read", "/proc/devices").startswith("refused")
        assert ask("write", "/sys/kernel/mm/ksm/run").startswith("refused")


def test_it_outlives_the_thread_that_started_it() -> None:
    children: list[object] = []
    with probing.confined() as (reference, _):
        started: list[tuple[object, probing.Ask]] = []
        manager = probing.confined()
        thread = threading.Thread(target=lambda: started.append(manager.__enter__()))
        thread.start()
        thread.join()
        child, ask = started[0]
        children.append(child)
        assert ask("sleep", 0.2) == "slept"
        assert reference.poll() is None
        manager.__exit__(None, None, None)


def test_its_threads_count_against_a_limit() -> None:
    with probing.confined(limits=Limits(processes=33)) as (child, _):
        limits = Path(f"/proc/{child.pid}/limits").read_text().splitlines()
    assert next(line.split()[2] for line in limits if line.startswith("Max processes")) == "33"
