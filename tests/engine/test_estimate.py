"""What a layout is reckoned to take, against what llama.cpp itself logs that it takes."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lumen_box.config import EngineSettings
from lumen_box.engine import library

os.environ.setdefault(library.VARIABLE, str(library.find(os.environ)))

import llama_cpp.llama_cpp as lib

from lumen_box.engine import llama
from lumen_box.engine.estimate import PROCESS, Room, estimate
from lumen_box.engine.llama import Context, ContextSize, Model
from lumen_box.engine.shape import shape_of
from lumen_box.gguf.reader import read_header
from tests.support.tiny_model import write_tiny_model

SIZES = re.compile(r"(KV|compute|output) buffer size = +([0-9.]+) MiB")


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What llama.cpp says meanwhile."""
    log, lines = llama.start(), []

    @lib.llama_log_callback  # type: ignore[untyped-decorator]
    def keep(_level: int, text: bytes, _data: int) -> None:
        lines.append(text.decode())

    lib.llama_log_set(keep, ctypes.c_void_p(0))
    yield lines
    lib.llama_log_set(log._callback, ctypes.c_void_p(0))


@pytest.mark.parametrize("kv_type", ["f16", "q8_0"])
@pytest.mark.parametrize(("context", "parallel"), [(300, 1), (2048, 3), (8192, 2)])
def test_the_cache_is_exact_and_the_buffers_are_not_underrated(
    tmp_path: Path, logged: list[str], kv_type: str, context: int, parallel: int
) -> None:
    path = write_tiny_model(tmp_path / "m.gguf", context=8192, layers=3, width=128, heads=4, kv_heads=2)
    data = path.read_bytes()
    shape = shape_of(read_header(lambda offset, count: data[offset : offset + count], len(data)))
    layout = estimate(shape, Room(0), EngineSettings(), context, parallel, kv_type)
    model, context_of = loaded(path, ContextSize(context, parallel, 512, 1, kv_type, layout.flash_attention))
    found: dict[str, float] = {}
    for name, size in SIZES.findall("".join(logged)):
        found[name] = float(size) * 2**20
    assert layout.kv_bytes == pytest.approx(found["KV"], abs=0.006 * 2**20)
    buffers = layout.host_bytes - PROCESS - layout.kv_bytes - shape.weights
    assert found["compute"] + found["output"] <= buffers <= 4 * (found["compute"] + found["output"]) + 2**23
    context_of.close()
    model.close()


def loaded(path: Path, size: ContextSize) -> tuple[Model, Context]:
    libc = ctypes.CDLL(None)
    libc.fopen.restype, libc.fopen.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_char_p]
    libc.fclose.argtypes = [ctypes.c_void_p]
    file = libc.fopen(os.fsencode(path), b"rb")
    model = Model(ctypes.c_void_p(file), gpu_layers=0, progress=lambda _: None)
    libc.fclose(file)
    return model, Context(model, size)
