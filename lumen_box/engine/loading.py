"""From an encrypted object to a model that can decode, and the facts about it.

The descriptor is closed and the buffers of the decryption overwritten before this returns, also when it fails. A
``check_only`` load runs the strict GGUF parser first, so that llama.cpp never sees a header which that parser refuses.
Every other load reads the header's structure too: how the model is laid out is decided, or refused, before anything is
allocated (``layout``), and from then on the kernel holds the process to what was decided.
"""

from __future__ import annotations

import ctypes
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from ..errors import Damaged
from ..gguf.reader import read_header, read_structure
from . import gpu, library
from .estimate import Layout, Room
from .layout import SMALLEST_CONTEXT, plan, plan_vectors
from .llama import Context, ContextSize, Model
from .pooling import PoolingContext, pooling_size
from .protocol import Load, ModelFacts
from .shape import shape_of
from .weights import EncryptedWeights

CHECK_SECONDS: Final = 120  # of a processor that the check of a new model may take
STACK: Final = 8 << 20  # bytes of each thread
MARGIN: Final = 512 << 20  # bytes above what the layout comes to, before the kernel refuses more
ENDLESS: Final = 1 << 60  # the memory of a check, which takes none
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
        layout = _layout(weights, request, threads)
        with weights.file() as file:
            heard, offloaded = _per_cent(progress), layout.gpu_layers
            model = Model(file, gpu_layers=offloaded, progress=heard, check_only=request.check_only)
    finally:
        weights.close()
    context = _context_for(model, request, layout)
    locked = _lock_memory()
    facts = ModelFacts(
        description=model.description,
        architecture=model.text_of("general.architecture"),
        parameters=model.parameters,
        model_bytes=model.weight_bytes,
        context=min(context.length, layout.context),
        trained_context=model.trained_context,
        vocabulary=model.size,
        parallel=layout.parallel,
        batch=context.batch,
        threads=threads,
        layers=model.layers,
        gpu_layers=layout.gpu_layers,
        bos=model.text_of_token(model.bos),
        eos=model.text_of_token(model.eos),
        chat_template=model.text_of("tokenizer.chat_template"),
        load_seconds=round(time.monotonic() - began, 3),
        memory_locked=locked,
        controls=model.controls,
        kv_type=layout.kv_type,
        flash_attention=context.flash_attention,
        kv_bytes=layout.kv_bytes,
        cache_bytes=layout.cache_bytes,
        host_bytes=layout.host_bytes,
        reasons=layout.reasons,
    )
    return LoadedModel(model, context, _of_vectors(facts, context))


def _context_for(model: Model, request: Load, layout: Layout) -> Context | PoolingContext:
    """What the model's role needs. ``Damaged`` if it is to chat and cannot write."""
    if request.role == "embedding":
        laid_out = replace(request.settings, context=layout.context)
        return PoolingContext(model, pooling_size(model, laid_out, layout.threads))
    context = Context(model, _size(layout))
    if context.keeps:
        return context
    context.close()
    raise Damaged("This model only reads: it cannot chat.", then="Ask its publisher to add it with the role embedding.")


def _of_vectors(facts: ModelFacts, context: Context | PoolingContext) -> ModelFacts:
    """The facts of an embedding model, which keeps nothing from one request to the next."""
    if isinstance(context, Context):
        return facts
    return replace(
        facts,
        context=context.length,
        parallel=context.parallel,
        cache_bytes=0,
        embedding=context.width,
        pooling=context.pooling,
    )


def _layout(weights: EncryptedWeights, request: Load, threads: int) -> Layout:
    """What header and room come to. The kernel is told where no GPU is: its driver maps what it likes."""
    devices = tuple(gpu.devices(library.find(os.environ))) if request.settings.gpu_layers else ()
    if request.check_only:
        resource.setrlimit(resource.RLIMIT_CPU, (CHECK_SECONDS, CHECK_SECONDS))
        shape = shape_of(read_header(weights.read, weights.size))
        small = replace(request.settings, parallel=2, context=SMALLEST_CONTEXT, kv_type="auto", cache_mib=0)
        return plan(shape, Room(ENDLESS, devices, threads), small)
    shape = shape_of(read_structure(weights.read, weights.size))
    work_out = plan_vectors if request.role == "embedding" else plan
    layout = work_out(shape, Room(request.memory, devices, threads), request.settings)
    if not devices:
        _limit(layout.host_bytes + layout.cache_bytes + MARGIN + threads * STACK)
    return layout


def _limit(size: int) -> None:
    """At most so many bytes of private memory from now on. RLIMIT_DATA counts what can be written, unlike RLIMIT_AS,
    which would also count libraries and reserved addresses."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    size = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def _size(layout: Layout) -> ContextSize:
    return ContextSize(
        layout.context, layout.parallel, layout.batch, layout.threads, layout.kv_type, layout.flash_attention
    )


def _per_cent(progress: Callable[[int], None]) -> Callable[[float], None]:
    """Passes on whole per cent, each once."""
    said = -1

    def on_progress(done: float) -> None:
        nonlocal said
        if int(done * 100) > said:
            said = int(done * 100)
            progress(said)

    return on_progress


def _lock_memory() -> bool:
    """Keeps the process out of swap where the system allows it; only pages in use, so that none are taken for it."""
    return bool(ctypes.CDLL(None).mlockall(_MCL_CURRENT | _MCL_ONFAULT) == 0)
