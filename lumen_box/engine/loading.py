"""From an encrypted object to a model that can decode, and the facts about it.

The descriptor is closed and the buffers of the decryption overwritten before this returns, also when it fails. A
``check_only`` load runs the strict GGUF parser first, so that llama.cpp never sees a header which that parser refuses.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..config import EngineSettings
from ..errors import Damaged
from ..gguf.reader import read_header
from . import gpu, library
from .llama import Context, ContextSize, Model
from .pooling import PoolingContext, pooling_size
from .protocol import Load, ModelFacts
from .weights import EncryptedWeights

LARGEST_DEFAULT_CONTEXT: Final = 8192
DEFAULT_PARALLEL: Final = 4
DEFAULT_CACHE_MIB: Final = 256
MAX_PARALLEL: Final = 256  # LLAMA_MAX_SEQ
_MCL_CURRENT: Final = 1
_MCL_ONFAULT: Final = 4


@dataclass(frozen=True)
class LoadedModel:
    """``context`` is as the model's role needs it."""

    model: Model
    context: Context | PoolingContext
    facts: ModelFacts


def load(fd: int, key: bytes, request: Load, progress: Callable[[int], None]) -> LoadedModel:
    """Loads the object whose ciphertext is open as ``fd``, which is closed. ``progress`` hears per cent.

    Raises:
        WrongKey, Damaged, TooNew, NoSpace: it cannot be loaded.
        OSError: the ciphertext cannot be read.
    """
    began = time.monotonic()
    threads = request.settings.threads or len(os.sched_getaffinity(0))
    weights = EncryptedWeights(fd, key, bytes.fromhex(request.object_id), request.stored_size, threads=threads)
    try:
        layers = _prepare(weights, request)
        with weights.file() as file:
            model = Model(file, gpu_layers=layers, progress=_per_cent(progress), check_only=request.check_only)
    finally:
        weights.close()
    context = _context_for(model, request, threads)
    locked = _lock_memory()
    facts = ModelFacts(
        description=model.description,
        architecture=model.text_of("general.architecture"),
        parameters=model.parameters,
        model_bytes=model.weight_bytes,
        context=min(context.length, _context(model.trained_context, request.settings)),
        trained_context=model.trained_context,
        vocabulary=model.size,
        parallel=_parallel(request.settings),
        batch=context.batch,
        threads=threads,
        layers=model.layers,
        gpu_layers=layers,
        bos=model.text_of_token(model.bos),
        eos=model.text_of_token(model.eos),
        chat_template=model.text_of("tokenizer.chat_template"),
        load_seconds=round(time.monotonic() - began, 3),
        resident_bytes=_resident(),
        memory_locked=locked,
        controls=model.controls,
        cache_bytes=(request.settings.cache_mib if request.settings.cache_mib >= 0 else DEFAULT_CACHE_MIB) << 20,
    )
    return LoadedModel(model, context, _of_vectors(facts, context))


def _context_for(model: Model, request: Load, threads: int) -> Context | PoolingContext:
    """What the model's role needs. ``Damaged`` if it is to chat and cannot write."""
    if request.role == "embedding":
        return PoolingContext(model, pooling_size(model, request.settings, threads))
    context = Context(model, _size(model.trained_context, request.settings, threads))
    if context.keeps:
        return context
    context.close()
    raise Damaged("This model only reads: it cannot chat.", then="Ask its publisher to add it with the role embedding.")


def _of_vectors(facts: ModelFacts, context: Context | PoolingContext) -> ModelFacts:
    """The facts of an embedding model, which keeps nothing from one request to the next."""
    if isinstance(context, Context):
        return facts
    return dataclasses.replace(
        facts,
        context=context.length,
        parallel=context.parallel,
        cache_bytes=0,
        embedding=context.width,
        pooling=context.pooling,
    )


def _prepare(weights: EncryptedWeights, request: Load) -> int:
    """Parses the header where that is asked for or needed; the number of layers for the GPU."""
    wanted = request.settings.gpu_layers
    devices = gpu.devices(library.find(os.environ)) if wanted < 0 else []
    if not request.check_only and not devices:
        return max(wanted, 0)
    header = read_header(weights.read, weights.size)
    if not devices:
        return max(wanted, 0)
    context = _context(header.context_length, request.settings)
    return gpu.layers_that_fit(devices, gpu.demand(header, context * _parallel(request.settings)))


def _per_cent(progress: Callable[[int], None]) -> Callable[[float], None]:
    """Passes on whole per cent, each once."""
    said = -1

    def on_progress(done: float) -> None:
        nonlocal said
        if int(done * 100) > said:
            said = int(done * 100)
            progress(said)

    return on_progress


def _parallel(settings: EngineSettings) -> int:
    return max(1, min(settings.parallel or DEFAULT_PARALLEL, MAX_PARALLEL))


def _context(trained: int, settings: EngineSettings) -> int:
    """Tokens of one sequence: what was set, but never more than the model was trained for."""
    return max(1, min(settings.context or LARGEST_DEFAULT_CONTEXT, trained))


def _size(trained: int, settings: EngineSettings, threads: int) -> ContextSize:
    parallel = _parallel(settings)
    return ContextSize(_context(trained, settings), parallel, max(settings.batch, parallel), threads)


def _lock_memory() -> bool:
    """Keeps the process out of swap where the system allows it; only pages in use, so that none are taken for it."""
    return bool(ctypes.CDLL(None).mlockall(_MCL_CURRENT | _MCL_ONFAULT) == 0)


def _resident() -> int:
    """Bytes of RAM in use."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
