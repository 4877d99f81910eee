"""What one choice of context, sequences and KV type would take of RAM and of each GPU: pure numbers.

The KV cache is exact (llama.cpp logs the same). Compute buffers are estimated from above: llama.cpp reserves them for
the largest step, and what is largest in it is either the logits of a whole batch or the scores of attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ..config import EngineSettings
from . import gpu
from .gpu import Device
from .shape import Shape

MICROBATCH: Final = 512  # tokens that llama.cpp computes at once
PAGE: Final = 256  # llama.cpp makes every sequence a multiple of so many tokens long
PROCESS: Final = 160 << 20  # bytes of the worker beside weights and buffers: Python, NumPy, the library
USUAL_CONTEXT: Final = 8_192
ROW_NUMBERS: Final = 1 << 28  # 1 GiB of rows over the vocabulary, one for each token that an embedding model reads
CELL: Final = 64  # bytes of bookkeeping for each cell of the cache

Flash = Literal["on", "off", "auto"]


@dataclass(frozen=True)
class Room:
    """What a model may take: ``memory`` bytes of RAM, and ``devices``. ``threads`` are those that compute."""

    memory: int
    devices: Sequence[Device] = ()
    threads: int = 1


@dataclass(frozen=True)
class Layout:
    """One choice. ``context`` tokens of each of ``parallel`` sequences; sizes are bytes. ``kv_bytes`` is the whole
    cache, ``kv_on_host`` its part in RAM, ``host_bytes`` all that the worker takes of RAM but ``cache_bytes``, which it
    takes only as conversations are parked, and ``fixed_bytes`` what it takes whatever is chosen."""

    context: int
    parallel: int
    batch: int
    threads: int
    kv_type: str
    flash_attention: Flash
    gpu_layers: int
    kv_bytes: int
    kv_on_host: int
    host_bytes: int
    fixed_bytes: int
    cache_bytes: int = 0
    reasons: tuple[str, ...] = ()


def estimate(shape: Shape, room: Room, settings: EngineSettings, context: int, parallel: int, kv_type: str) -> Layout:
    """What this choice comes to."""
    batch, cells = max(settings.batch, parallel), -(-context // PAGE) * PAGE
    flash = _flash(room, settings, kv_type)
    kv = shape.kv_bytes(kv_type, cells, parallel)
    offloaded = _gpu_layers(shape, room, settings, kv)
    behind = max(shape.layers - offloaded, 0)
    kv_on_host = kv * behind // shape.layers
    weights = shape.weights - shape.blocks + shape.blocks * behind // shape.layers
    compute = _compute(shape, cells, min(batch, MICROBATCH), parallel, flash)
    fixed = PROCESS + weights
    host = fixed + kv_on_host + CELL * cells * parallel + compute
    return Layout(context, parallel, batch, room.threads, kv_type, flash, offloaded, kv, kv_on_host, host, fixed)


def estimate_vectors(shape: Shape, room: Room, settings: EngineSettings, context: int) -> Layout:
    """What an embedding model comes to that reads texts of up to ``context`` tokens: each in one step, or with a step
    of others beside it where it may be read in pieces."""
    step = settings.batch if shape.pieces else max(settings.batch, context)
    cells = context + settings.batch if shape.pieces else step
    flash: Flash = "on" if settings.flash_attention == "on" else "off"
    kv = shape.kv_bytes("f16", cells, 1)
    offloaded = _gpu_layers(shape, room, settings, kv)
    behind = max(shape.layers - offloaded, 0)
    fixed = PROCESS + shape.weights - shape.blocks + shape.blocks * behind // shape.layers
    kv_on_host = kv * behind // shape.layers
    host = fixed + kv_on_host + CELL * cells + _compute(shape, cells, step, step, flash)
    return Layout(context, 1, settings.batch, room.threads, "f16", flash, offloaded, kv, kv_on_host, host, fixed)


def _flash(room: Room, settings: EngineSettings, kv_type: str) -> Flash:
    if kv_type == "q8_0" or settings.flash_attention == "on":
        return "on"
    return "auto" if room.devices and settings.gpu_layers and settings.flash_attention == "auto" else "off"


def _gpu_layers(shape: Shape, room: Room, settings: EngineSettings, kv: int) -> int:
    if not room.devices:
        return 0
    return settings.gpu_layers if settings.gpu_layers >= 0 else layers_on_devices(shape, room, kv)


def layers_on_devices(shape: Shape, room: Room, kv: int) -> int:
    """How many layers fit with their share of a cache of ``kv`` bytes; one more than there are: the output too."""
    demand = gpu.Demand(shape.layers, (shape.blocks + kv) // shape.layers, shape.weights - shape.blocks)
    return gpu.layers_that_fit(room.devices, demand)


def _compute(shape: Shape, cells: int, batch: int, parallel: int, flash: Flash) -> int:
    """Bytes of the buffers of one step, and of the logits that are kept until they were sampled from."""
    scores = 0 if flash == "on" else 2 * shape.scores * cells
    mask = 2 * cells
    return 4 * batch * (max(shape.vocabulary, scores) + shape.widest + mask) + 4 * parallel * shape.vocabulary
