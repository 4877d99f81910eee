"""A small CMake project in the shape of llama.cpp, so that the real builder builds it with real compilers.

Its libraries have the names and the folders of the real ones. Compiling ``src/held.c`` waits for as long as the file
``hold`` exists, so that a test can stop a build at a known place.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lumen_installer.builder import Job
from lumen_installer.engine import Build
from lumen_installer.recipe import COMMON_FLAGS

TOP = """
cmake_minimum_required(VERSION 3.14)
project(tiny C)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
add_subdirectory(ggml)
add_subdirectory(src)
"""
GGML = "add_library(ggml SHARED one.c two.c)\n"
SRC = """
add_library(llama SHARED a.c b.c c.c held.c)
set_target_properties(llama PROPERTIES VERSION 1.2.3 SOVERSION 1)
target_link_libraries(llama ggml)
"""
FILES = 6
LAUNCHER = """#!/bin/sh
case "$*" in *held.c*) while [ -e "$(dirname "$0")/hold" ]; do sleep 0.05; done ;; esac
exec "$@"
"""


def write_project(root: Path) -> None:
    """The sources where the builder expects them unpacked, and the launcher that can hold one file back."""
    for path, text in {"CMakeLists.txt": TOP, "ggml/CMakeLists.txt": GGML, "src/CMakeLists.txt": SRC}.items():
        write(root, path, text)
    for name in ("ggml/one", "ggml/two", "src/b", "src/c", "src/held"):
        write(root, f"{name}.c", f"int {Path(name).name}(void) {{ return 1; }}\n")
    write(root, "src/a.c", "int one(void);\nint answer(void) { return 41 + one(); }\n")
    write(root, "LICENSE", "Do as you like.\n")
    launcher = root / "launcher"
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)


def write(root: Path, path: str, text: str) -> None:
    target = root / "build" / "source" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def build_of(root: Path) -> Build:
    """The build of the project below ``root``, for the environment ``root/env``."""
    job = Job(
        python=sys.executable,
        sources=str(root / "sources"),
        library=str(root / "engine" / "key"),
        flags=(*COMMON_FLAGS, f"-DCMAKE_C_COMPILER_LAUNCHER={root / 'launcher'}"),
        about={"version": "tiny"},
        jobs=2,
    )
    return Build(root / "build", root / "engine" / "key", root / "env", job)
