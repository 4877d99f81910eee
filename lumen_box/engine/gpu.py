"""How many layers go on a GPU: worked out from its free memory, where the library has a GPU backend at all.

The reckoning is pure; reading the devices is a few calls into ggml. What does not fit stays on the CPU.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RESERVE: Final = 512 << 20  # bytes of each device for computation and for what else runs there
MARGIN: Final = 0.10  # of the free memory, because what is free changes
GPU, INTEGRATED = 1, 2  # ggml_backend_dev_type


@dataclass(frozen=True)
class Device:
    """A GPU as ggml reports it; bytes."""

    name: str
    free: int
    total: int


@dataclass(frozen=True)
class Demand:
    """What a model wants: ``layers`` of ``layer_bytes`` each with their share of the KV cache, and the output."""

    layers: int
    layer_bytes: int
    output_bytes: int


def layers_that_fit(devices: Sequence[Device], demand: Demand) -> int:
    """The largest ``n_gpu_layers`` whose layers fit; ``layers + 1`` includes the output layer."""
    room = [max(int(device.free * (1 - MARGIN)) - RESERVE, 0) for device in devices]
    if demand.layer_bytes <= 0:
        return 0
    fitting = sum(free // demand.layer_bytes for free in room)
    if fitting < demand.layers:
        return fitting
    left = sum(room) - demand.layers * demand.layer_bytes
    return demand.layers + (1 if left >= demand.output_bytes else 0)


def devices(library: Path) -> list[Device]:
    """The GPUs that the library in this folder can use; none for a CPU build."""
    ggml, base = ctypes.CDLL(str(library / "libggml.so")), ctypes.CDLL(str(library / "libggml-base.so"))
    ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    ggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    ggml.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    handles = [ggml.ggml_backend_dev_get(index) for index in range(ggml.ggml_backend_dev_count())]
    return [_device(base, handle) for handle in handles if _kind(base, handle) in (GPU, INTEGRATED)]


def _kind(base: ctypes.CDLL, handle: int) -> int:
    base.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    return int(base.ggml_backend_dev_type(handle))


def _device(base: ctypes.CDLL, handle: int) -> Device:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    base.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    base.ggml_backend_dev_memory(handle, ctypes.byref(free), ctypes.byref(total))
    base.ggml_backend_dev_name.argtypes, base.ggml_backend_dev_name.restype = [ctypes.c_void_p], ctypes.c_char_p
    name = base.ggml_backend_dev_name(handle) or b""
    return Device(name.decode("utf-8", "replace"), free.value, total.value)
