"""The first second: what is missing is named, all of it at once, and an old Python can still say that it is too old."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lumen_installer import preflight

SOURCE = Path(preflight.__file__)
V3 = "flags : fpu avx avx2 bmi1 bmi2 f16c fma movbe sse4_2\n"


def no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CXX", raising=False)


def old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))


def no_venv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "ensurepip" else object())


LACKS: list[tuple[Callable[[pytest.MonkeyPatch], None], Callable[[], preflight.Finding], str]] = [
    (old_python, preflight.check_python, "3.11 or newer is needed"),
    (no_venv, preflight.check_python, "python3-venv"),
    (no_tools, preflight.check_c, "No working C compiler"),
    (no_tools, preflight.check_cxx, "No working C++17 compiler (tried c++, g++, clang++)"),
    (no_tools, preflight.check_builder, "install make"),
    (lambda _: None, lambda: preflight.check_disk(Path.cwd(), 1 << 60), "GiB are needed"),
    (lambda _: None, lambda: preflight.check_disk(Path("/proc/1/none"), 0), "cannot be written to"),
]


@pytest.mark.parametrize(("lose", "check", "words"), LACKS, ids=[words for _, _, words in LACKS])
def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch,
    lose: Callable[[pytest.MonkeyPatch], None],
    check: Callable[[], preflight.Finding],
    words: str,
) -> None:
    lose(monkeypatch)
    assert check().good is False
    assert words in check().what


def test_a_compiler_without_cxx17_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\nexec g++ -std=c++14 -fsyntax-only -x c++ -\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert preflight.check_cxx().good is False
    monkeypatch.setenv("CXX", "g++")
    assert preflight.check_cxx() == (True, "g++")


@pytest.mark.parametrize(("flags", "good"), [(V3, True), (V3.replace("avx2 ", ""), False), ("", False)])
def test_a_processor_has_to_be_x86_64_v3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, good: bool
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    (tmp_path / "cpuinfo").write_text("processor : 0\n" + flags)
    assert preflight.check_processor(tmp_path / "cpuinfo").good is good


def run_preflight(path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-S", SOURCE], env={"PATH": path, "HOME": "/tmp"}, capture_output=True, text=True
    )


def test_everything_missing_is_listed_at_once_on_stderr() -> None:
    answer = run_preflight("/nowhere")
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert answer.stderr.count("MISSING") == 3
    assert "Nothing has been changed." in answer.stderr


def test_this_machine_passes_with_nothing_installed() -> None:
    answer = run_preflight("/usr/local/bin:/usr/bin:/bin")
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr.startswith("This machine will do: Python 3.")


def test_an_old_python_can_read_it() -> None:
    source = SOURCE.read_text()
    ast.parse(source, feature_version=(3, 6))
    assert "from __future__ import annotations" not in source, "Python 3.6 does not know it"
