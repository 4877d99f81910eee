"""Models of a real size for measuring: llama architecture, random weights, a context of 16,384 tokens.

``llama_model_quantize`` makes the quantised files from one in F16, so that every matrix has the type that a published
model of that name has. A ``tiny`` one, for trying the benchmarks out, is written as it is.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.tiny_model import write_tiny_model

from . import material
from .harness import ROOT, python

CONTEXT: Final = 16384
QUANTISATIONS: Final = {"Q8_0": 7, "Q4_K_M": 15}  # llama.cpp's numbers of these file types
TINY: Final = "tiny"
NAMES: Final = (*QUANTISATIONS, TINY)


def path(name: str) -> Path:
    """The file, made if need be: 250 million parameters in Q8_0 or Q4_K_M, or the tiny one."""
    target = material.folder() / f"{name}.gguf"
    if not target.exists():
        fresh = target.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        if name == TINY:
            write_tiny_model(fresh, context=CONTEXT, name="Tiny")
        else:
            material.environment()
            words = [str(_full().relative_to(ROOT)), str(fresh.relative_to(ROOT)), name]
            subprocess.run(python("-m", "benchmarks.weights", *words), cwd=ROOT, check=True)
        fresh.rename(target)
    return target


def _full() -> Path:
    target = material.folder() / "F16.gguf"
    if not target.exists():
        fresh = target.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        write_tiny_model(
            fresh,
            layers=18,
            width=1024,
            heads=16,
            kv_heads=4,
            hidden=2816,
            vocabulary_size=32000,
            context=CONTEXT,
            quantisation="F16",
            name="Benchmark",
        )
        fresh.rename(target)
    return target


def quantise(source: Path, target: Path, name: str) -> None:
    """In a process of its own, since llama.cpp goes with it."""
    import llama_cpp.llama_cpp as lib

    parameters = lib.llama_model_quantize_default_params()
    parameters.ftype = QUANTISATIONS[name]
    if lib.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters)):
        sys.exit(f"llama.cpp could not make {target.name}.")


if __name__ == "__main__":
    quantise(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
