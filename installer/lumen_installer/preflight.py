"""The first second: says whether this machine can build and run Lumen Box, and what is missing if it cannot.

Run as a file by whatever Python 3 there is, so it keeps to the standard library and to syntax that a Python which
is too old still reads. Every problem is reported at once, each with what to do about it.
"""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

PYTHON = (3, 11)
GIB = 1024**3
CHECKOUT_BYTES = GIB  # .venv with everything that the tests use, and a demo box
CACHE_BYTES = GIB  # llama.cpp: its source archive, the unpacked part of it, and the build
V3_FLAGS = frozenset(["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"])  # x86-64-v3 in the kernel's spelling
CXX17 = b"#include <cstdint>\n#if __cplusplus < 201703L\n#error\n#endif\nint main() { return 0; }\n"


class Finding(NamedTuple):
    """One check: ``good`` or not, and a few words for the person who started it."""

    good: bool
    what: str


def cache_folder() -> Path:
    """Where finished engine libraries are kept for every checkout of this user."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lumen-box"


def check_python() -> Finding:
    version = platform.python_version()
    if sys.version_info < PYTHON:
        newer = [name for name in ("python3.13", "python3.12", "python3.11") if shutil.which(name)]
        then = "" if newer else "install one and "
        then += f"run the same `make` with PYTHON={newer[0] if newer else 'python3.11'}"
        return Finding(False, f"Python {version} is too old, 3.11 or newer is needed: {then}.")
    if not all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        return Finding(False, f"Python {version} cannot make environments: install its venv package (python3-venv).")
    return Finding(True, f"Python {version}")


def check_c() -> Finding:
    names = _wanted("CC", ["cc", "gcc", "clang"])
    found = [name for name in names if shutil.which(name)]
    return Finding(True, found[0]) if found else _no_compiler("C", names)


def check_cxx() -> Finding:
    names = _wanted("CXX", ["c++", "g++", "clang++"])
    found = [name for name in names if shutil.which(name) and _accepts_cxx17(name)]
    return Finding(True, found[0]) if found else _no_compiler("C++17", names)


def _wanted(variable: str, usual: "list[str]") -> "list[str]":
    wanted = os.environ.get(variable)
    return [wanted] if wanted else usual


def _no_compiler(language: str, tried: "list[str]") -> Finding:
    return Finding(False, f"No working {language} compiler (tried {', '.join(tried)}): install g++ or clang.")


def _accepts_cxx17(compiler: str) -> bool:
    command = [compiler, "-std=c++17", "-fsyntax-only", "-x", "c++", "-"]
    quiet = subprocess.DEVNULL
    try:
        return subprocess.run(command, input=CXX17, stdout=quiet, stderr=quiet, timeout=20).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def check_builder() -> Finding:
    found = [name for name in ("ninja", "make") if shutil.which(name)]
    return Finding(True, found[0]) if found else Finding(False, "Neither ninja nor make is here: install make.")


def check_cmake() -> Finding:
    return Finding(True, "cmake" if shutil.which("cmake") else "no cmake (pip's will be used)")


def check_processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Finding:
    if sys.platform != "linux":
        return Finding(False, f"Lumen Box runs on Linux; this is {sys.platform}.")
    if platform.machine() != "x86_64":
        return Finding(True, platform.machine())
    with open(str(cpuinfo), encoding="ascii", errors="replace") as file:
        flags = next((line for line in file if line.startswith("flags")), "").split()
    missing = " ".join(sorted(V3_FLAGS.difference(flags)))
    if missing:
        return Finding(False, f"This processor lacks {missing}; x86-64-v3 is needed (most since 2015 have it).")
    return Finding(True, "x86-64-v3")


def check_disk(folder: Path, needed: int) -> Finding:
    there = folder.resolve()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(str(there)).free
    if not os.access(str(there), os.W_OK):
        return Finding(False, f"{there} cannot be written to.")
    if free < needed:
        return Finding(False, f"{free / GIB:.1f} GiB free in {there}: {needed / GIB:.1f} GiB are needed.")
    return Finding(True, f"{free / GIB:.0f} GiB free in {there}")


def findings(checkout: Path) -> "list[Finding]":
    """Every check, in the order in which they are shown."""
    return [
        check_python(),
        check_processor(),
        check_c(),
        check_cxx(),
        check_builder(),
        check_cmake(),
        check_disk(checkout, CHECKOUT_BYTES),
        check_disk(cache_folder(), CACHE_BYTES),
    ]


def main(checkout: Path) -> int:
    """Reports on stderr; 0 when everything needed is here, else 1."""
    results = findings(checkout)
    if all(finding.good for finding in results):
        sys.stderr.write(f"This machine will do: {', '.join(finding.what for finding in results)}.\n")
        return 0
    for finding in results:
        sys.stderr.write(f"{'ok     ' if finding.good else 'MISSING'}  {finding.what}\n")
    sys.stderr.write("Nothing has been changed. Put that right and run the same command again.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))
