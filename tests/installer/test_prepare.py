"""What `make` does before the command: looked at again only when something changed, silent on stdout, safe to stop."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lumen_installer.advance import Progress
from lumen_installer.prepare import STAMP, Environment, in_words
from lumen_installer.screen import Screen
from tests.support import tiny_build

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose environment is ready: a link to this Python, and the stamp."""
    for name in ("requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    environment = environment_of(tmp_path)
    (tmp_path / ".venv" / STAMP).write_text(environment.wanted)
    return tmp_path


def environment_of(checkout: Path, *sections: str) -> Environment:
    return Environment(checkout, ("client", "publisher", "box", *sections), Screen(io.StringIO()))


def in_checkout(checkout: Path, program: str, *words: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'installer'}", "MARK": str(checkout)}
    return subprocess.Popen(
        [sys.executable, "-c", program, *words],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


MAIN = "import sys; from lumen_installer import prepare; sys.exit(prepare.main(sys.argv[1:]))"


def append(name: str) -> Callable[[Path], object]:
    return lambda checkout: (checkout / name).open("a").write("# changed\n")


@pytest.mark.parametrize(
    "change",
    [
        append("requirements.lock"),
        append("pyproject.toml"),
        lambda checkout: (checkout / ".venv" / STAMP).unlink(),
        lambda checkout: (checkout / ".venv" / STAMP).write_text("interrupted"),
    ],
)
def test_an_environment_is_ready_until_something_changes(checkout: Path, change: Callable[[Path], object]) -> None:
    assert environment_of(checkout).is_ready()
    change(checkout)
    assert not environment_of(checkout).is_ready()


def test_an_environment_for_a_box_is_not_ready_for_the_tests(checkout: Path) -> None:
    assert not environment_of(checkout, "dev").is_ready()


def test_a_checkout_that_was_moved_is_made_anew(checkout: Path) -> None:
    moved = checkout.rename(checkout.with_name("moved"))
    assert not environment_of(moved).is_ready()


def test_stdout_belongs_to_the_command_which_sees_a_clean_environment(checkout: Path) -> None:
    command = "import os, sys; print(os.environ['PATH'].split(':')[0], 'PYTHONPATH' in os.environ); sys.exit(7)"
    process = in_checkout(checkout, MAIN, "--", "python", "-c", command)
    said, _ = process.communicate(timeout=60)
    assert said == f"{checkout}/.venv/bin False\n"
    assert process.returncode == 7


def test_a_lock_that_does_not_belong_here_stops_before_anything_is_made(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    (checkout / "requirements.lock").write_text("# [build]\n")
    process = in_checkout(checkout, MAIN, "--", "python", "-c", "print('ran')")
    said, complaint = process.communicate(timeout=60)
    assert (process.returncode, said) == (22, "")
    assert "Run `make lock`." in complaint
    assert not (checkout / ".venv").exists()


STOPPED = """
import sys
from pathlib import Path
from lumen_installer import engine, prepare
from tests.support import tiny_build
engine.build_for = lambda **where: tiny_build.build_of(Path.cwd())
sys.exit(prepare.main(["--engine", "wait"]))
"""


def test_ctrl_c_stops_the_build_and_says_what_is_kept(checkout: Path) -> None:
    tiny_build.write_project(checkout)
    (checkout / "hold").touch()
    process = in_checkout(checkout, STOPPED)
    build = tiny_build.build_of(checkout)
    end = time.monotonic() + 60
    while build.progress().done < tiny_build.FILES - 1:
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, complaint = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "")
    assert "Stopped. What is downloaded and built is kept." in complaint
    assert f"every word of the compilers is in {build.log}" in complaint
    assert build.stage == "stopped"


@pytest.mark.parametrize(
    ("stage", "progress", "words"),
    [
        ("fetching the sources", Progress(0, 0, None), "fetching the sources"),
        ("compiling", Progress(0, 70, None), "compiling, 0 of 70 files"),
        ("compiling", Progress(12, 70, 58), "compiling, 12 of 70 files, about 58 s left"),
    ],
)
def test_progress_is_said_as_far_as_it_is_known(stage: str, progress: Progress, words: str) -> None:
    assert in_words(stage, progress) == words


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_one_line_rewritten_and_a_log_sees_few_lines() -> None:
    terminal, log = Terminal(), io.StringIO()
    for out in (terminal, log):
        screen = Screen(out)
        for count in range(50):
            screen.lasting(f"{count} of 50")
        screen.step("done")
    assert terminal.getvalue().count("\n") == 2
    assert terminal.getvalue().count("\r") == 50
    assert "\r" not in log.getvalue()
    assert len(log.getvalue().splitlines()) == 2


def make(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "--no-print-directory", *words], cwd=ROOT, capture_output=True, text=True)


def test_help_is_what_make_does_by_itself_and_it_lists_every_target() -> None:
    targets = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY:"))
    listed = [line.split()[1] for line in make().stdout.splitlines() if line.startswith("make ")]
    assert sorted(listed) == sorted(set(targets.split()[1:]) - {"help"})
    assert make("help").stdout == make().stdout


def test_a_missing_compiler_stops_make_before_anything_is_made(tmp_path: Path) -> None:
    answer = make("demo", "CXX=nope", f"PYTHON=CXX=nope XDG_CACHE_HOME={tmp_path} {sys.executable}")
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert "No working C++17 compiler (tried nope)" in answer.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("says", "status", "closing"),
    [
        ("===== 12 passed in 3.45s =====", 0, "===== 12 passed in 3.45s ====="),
        ("== 1 failed, 11 passed in 61.20s (0:01:01) ==", 2, "== 1 failed, 11 passed in 61.20s (0:01:01) =="),
        ("==== no tests ran in 0.01s ====", 5, "==== no tests ran in 0.01s ===="),
        ("pip failed", 1, "No test was run."),
    ],
)
def test_ci_ends_in_pytests_closing_line_and_in_its_status(
    tmp_path: Path, says: str, status: int, closing: str
) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / "make").write_text(f"#!/bin/sh\necho \"asked for $*\"\necho '{says}'\necho later\nexit {status}\n")
    (tmp_path / "make").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    answer = subprocess.run([tmp_path / ".ci" / "run"], env=environment, capture_output=True, text=True)
    assert answer.returncode == status
    assert answer.stdout.splitlines()[0] == "asked for test"
    assert answer.stdout.splitlines()[-1] == closing
