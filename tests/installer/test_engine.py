"""Building in the background: with the real builder, a real CMake and a real compiler, on a project of six files."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lumen_box.errors import LumenError, NoSpace, NotFound
from lumen_installer import builder, place, state
from lumen_installer.advance import Progress
from lumen_installer.state import Stage
from tests.support import tiny_build

PATIENCE = 60.0


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    tiny_build.write_project(tmp_path)
    yield tmp_path
    (tmp_path / "hold").unlink(missing_ok=True)
    tiny_build.build_of(tmp_path).cancel()


@pytest.fixture
def held(root: Path) -> Path:
    (root / "hold").touch()
    return root


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def all_but_the_held_file(root: Path) -> bool:
    return tiny_build.build_of(root).progress().done == tiny_build.FILES - 1


def nobody_builds(root: Path) -> bool:
    """No process works in the folder: its name is in no command line."""
    commands = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            commands.append(entry.read_bytes())
    return not any(str(root / "build").encode() in command for command in commands)


def objects(root: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (root / "build").rglob("*.o")}


def in_another_process(root: Path, code: str) -> subprocess.Popen[bytes]:
    program = f"from pathlib import Path; from tests.support import tiny_build\nroot = Path({str(root)!r})\n{code}"
    return subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)


def test_the_finished_library_is_whole_private_movable_and_linked(root: Path) -> None:
    build = tiny_build.build_of(root)
    build.start()
    seen: list[Progress] = []
    assert build.wait(seen.append) == root / "engine" / "key"
    assert {progress.total for progress in seen} <= {0, tiny_build.FILES}
    assert place.engine_link(root / "env").resolve() == build.library
    assert json.loads((build.library / "about.json").read_text()) == {"version": "tiny"}
    assert (build.library / "LICENSE").read_text() == "Do as you like.\n"
    assert (build.library / "libllama.so").readlink() == Path("libllama.so.1")
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in build.library.iterdir())
    moved = build.library.rename(root / "elsewhere")
    assert ctypes.CDLL(str(moved / "libllama.so")).answer() == 42
    until(lambda: not list((root / "build").glob("tree*")))  # what was needed only to build goes


def test_a_library_that_is_there_is_not_built_again(root: Path) -> None:
    build = tiny_build.build_of(root)
    build.start()
    build.wait()
    log = build.log.read_bytes()
    again = tiny_build.build_of(root)
    place.engine_link(root / "env").unlink()
    again.start()
    assert again.finished
    assert again.stage == "ready"
    assert build.log.read_bytes() == log
    assert place.engine_link(root / "env").exists()


def test_cancelling_stops_every_process_and_keeps_every_finished_file(held: Path) -> None:
    build = tiny_build.build_of(held)
    build.start()
    until(lambda: all_but_the_held_file(held))
    assert build.progress().total == tiny_build.FILES
    assert build.stage == "compiling"
    build.cancel()
    assert nobody_builds(held)
    assert build.stage == "stopped"
    before = objects(held)
    assert len(before) == tiny_build.FILES - 1
    # Going on compiles the missing file only, and that is seen before the tree is cleared away.
    build.start()
    until(lambda: build.stage == "compiling")
    (held / "hold").unlink()
    build.wait()
    compiled = build.log.read_text().split("== stopped")[1]
    assert "held.c" in compiled
    assert not any(f"/{name}.o" in compiled for name in ("a.c", "b.c", "c.c", "one.c", "two.c"))


def test_leaving_the_block_by_an_error_cancels(held: Path) -> None:
    with pytest.raises(KeyboardInterrupt), tiny_build.build_of(held) as build:
        build.start()
        until(lambda: all_but_the_held_file(held))
        raise KeyboardInterrupt
    assert nobody_builds(held)


def test_a_second_start_joins_and_only_the_starter_can_cancel(held: Path) -> None:
    starter = in_another_process(held, "import time; tiny_build.build_of(root).start(); time.sleep(60)")
    with starter:
        until(lambda: all_but_the_held_file(held))
        mine = tiny_build.build_of(held)
        mine.start()
        mine.cancel()
        assert not nobody_builds(held)
        (held / "hold").unlink()
        mine.wait()
        starter.kill()
    assert mine.log.read_text().count("== configuring") == 1


def test_a_build_whose_starter_is_killed_stops_by_itself(held: Path) -> None:
    with in_another_process(held, "import time; tiny_build.build_of(root).start(); time.sleep(60)") as starter:
        until(lambda: all_but_the_held_file(held))
        starter.kill()
    until(lambda: nobody_builds(held))
    assert len(objects(held)) == tiny_build.FILES - 1


AFTERWARDS = """
import sys, time
from pathlib import Path
from tests.support import tiny_build
build = tiny_build.build_of(Path(sys.argv[1]))
while build.progress().done < tiny_build.FILES - 1:
    time.sleep(0.05)
print(build.stage)
build.cancel()
print(build.stage)
"""


def test_a_process_that_becomes_another_program_keeps_its_build(held: Path) -> None:
    become = "import os, sys; tiny_build.build_of(root).start();"
    become += f"os.execv(sys.executable, [sys.executable, '-c', {AFTERWARDS!r}, str(root)])"
    with in_another_process(held, become) as process:
        said, _ = process.communicate(timeout=PATIENCE)
    assert said.split() == [b"compiling", b"stopped"]
    assert nobody_builds(held)


def test_a_builder_that_is_killed_is_taken_over(held: Path) -> None:
    build = tiny_build.build_of(held)
    build.start()
    until(lambda: all_but_the_held_file(held))
    last = state.read(held / "build")
    assert last is not None
    os.kill(last.pid, signal.SIGKILL)
    (held / "hold").unlink()
    assert (build.wait() / "libllama.so").exists()


def test_a_compiler_that_fails_is_said_so_and_the_next_start_goes_on(root: Path) -> None:
    tiny_build.write(root, "src/b.c", "#error planted\n")
    build = tiny_build.build_of(root)
    build.start()
    with pytest.raises(LumenError, match=r"could not be built.*cmake.*failed") as failure:
        build.wait()
    assert str(build.log) in str(failure.value)
    assert "planted" in build.log.read_text()
    assert not build.library.exists()
    tiny_build.write(root, "src/b.c", "int b(void) { return 1; }\n")
    build.start()
    assert (build.wait() / "libllama.so").exists()


def test_a_full_disk_is_told_from_a_broken_compiler(root: Path) -> None:
    fields = {"stage": Stage.FAILED, "pid": 1, "owner": os.getpid(), "code": "no_space", "error": "The disk is full."}
    state.State(**fields).write(root / "build")  # type: ignore[arg-type]
    with pytest.raises(NoSpace, match="The disk is full"):
        tiny_build.build_of(root).wait()


def test_a_half_copied_library_is_never_taken_for_a_finished_one(root: Path) -> None:
    half = root / "engine" / ".key.half"
    half.mkdir(parents=True)
    (half / "libllama.so").write_text("half")
    build = tiny_build.build_of(root)
    assert not build.finished
    build.start()
    assert ctypes.CDLL(str(build.wait() / "libllama.so")).answer() == 42


@pytest.mark.parametrize(("version", "taken"), [("3.20.6", False), ("3.21.0", True), ("4.0", True), ("none", False)])
def test_a_cmake_that_is_too_old_gives_way_to_pips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, taken: bool
) -> None:
    for folder, says in (("usr", version), ("venv", "4.1.0")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cmake").write_text(f"#!/bin/sh\necho cmake version {says}\n")
        (tmp_path / folder / "cmake").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "usr"))
    assert builder.find_cmake(tmp_path / "venv") == str(tmp_path / ("usr" if taken else "venv") / "cmake")


def test_no_cmake_at_all_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFound, match="no cmake"):
        builder.find_cmake(tmp_path)
