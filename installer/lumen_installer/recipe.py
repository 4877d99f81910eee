"""What is built, and the key under which it is kept: one llama.cpp for development, tests and the install medium.

The sources are those inside the pinned source archive of llama-cpp-python, so that the library and its Python
bindings always agree. Everything that can change the result is part of the key: version, flags and compiler.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from lumen_box.errors import NotFound

PACKAGE = "llama-cpp-python"
VERSION = "0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
TARGET = "llama"  # libllama and the ggml libraries below it

COMMON_FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=ON",
    # The libraries find each other wherever the folder is moved to.
    "-DCMAKE_INSTALL_RPATH=$ORIGIN",
    "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON",
    "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON",
    "-DLLAMA_BUILD_COMMON=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_TOOLS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_SERVER=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DGGML_CCACHE=OFF",
    # A box may have another processor than the machine that builds for it.
    "-DGGML_NATIVE=OFF",
)
X86_64_V3_FLAGS = tuple(f"-DGGML_{name}=ON" for name in ("SSE42", "AVX", "AVX2", "BMI2", "FMA", "F16C"))
CUDA_FLAGS = ("-DGGML_CUDA=ON", "-DCMAKE_CUDA_ARCHITECTURES=native")


@dataclass(frozen=True)
class Recipe:
    """One way to build the engine library; ``compilers`` are the compilers' own words about themselves."""

    version: str
    sha256: str
    flags: tuple[str, ...]
    compilers: tuple[str, ...]

    @property
    def key(self) -> str:
        """32 hex digits; two recipes with the same key give interchangeable libraries."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]


def for_this_machine() -> Recipe:
    """The recipe for the machine that runs this: with CUDA where there is a compiler and a device for it.

    Raises:
        NotFound: there is no C or no C++ compiler.
    """
    cuda = shutil.which("nvcc") if _has_nvidia_device() else None
    compilers = [_compiler("CC", ("cc", "gcc", "clang")), _compiler("CXX", ("c++", "g++", "clang++"))]
    flags = COMMON_FLAGS + (X86_64_V3_FLAGS if platform.machine() == "x86_64" else ())
    if cuda:
        compilers, flags = [*compilers, cuda], flags + CUDA_FLAGS
    return Recipe(VERSION, SHA256, flags, tuple(_identity(compiler) for compiler in compilers))


def _has_nvidia_device() -> bool:
    return Path("/dev/nvidiactl").exists() and any(Path("/proc/driver/nvidia/gpus").glob("*"))


def _compiler(variable: str, usual: tuple[str, ...]) -> str:
    wanted = os.environ.get(variable)
    found = [path for name in ((wanted,) if wanted else usual) if (path := shutil.which(name))]
    if not found:
        raise NotFound("There is no C++ compiler here.", then="Install g++ or clang and run the same command again.")
    return found[0]


def _identity(compiler: str) -> str:
    """The last words of ``--version`` differ between releases for nvcc, the first for the others: keep them all."""
    answer = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=20, check=True)
    return " ".join(answer.stdout.split())
