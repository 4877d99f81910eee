"""The llama.cpp context of an embedding model: many texts in a step, one vector of each.

* The pooling is the model's own; a model that names none is pooled by the mean of its tokens.
* Vectors come out as the model gives them; :func:`unit` makes them 1 long, as OpenAI's are.
* A model that reads from left to right and is pooled by its last token takes a long text in several steps. Every other
  one must see a whole text at once, since the mean and attention from both ends need all of it: a step is as large as
  its longest text.
* llama.cpp keeps a row over the whole vocabulary for every token of a step, also where nobody looks at it. Where a
  step holds whole texts that bounds the context, if the settings leave it open (``ROW_NUMBERS``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import llama_cpp.llama_cpp as lib
import numpy as np

from ..config import EngineSettings
from ..errors import TooNew
from ..gguf.summary import BOTH_WAYS
from .estimate import ROW_NUMBERS, USUAL_CONTEXT
from .llama import Batch, Floats, Model, start
from .protocol import MAX_SEQUENCES, MAX_WIDTH

NAMES: Final = {
    lib.LLAMA_POOLING_TYPE_MEAN: "mean",
    lib.LLAMA_POOLING_TYPE_CLS: "cls",
    lib.LLAMA_POOLING_TYPE_LAST: "last",
}
FLASH: Final = {
    "auto": lib.LLAMA_FLASH_ATTN_TYPE_DISABLED,
    "on": lib.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": lib.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}


@dataclass(frozen=True)
class PoolingSize:
    """``context`` tokens of the longest text, ``batch`` tokens of an ordinary step. ``chunks``: a text may be read in
    several steps. ``pooling`` and ``flash`` are llama.cpp's numbers."""

    context: int
    batch: int
    threads: int
    pooling: int
    chunks: bool
    flash: int

    @property
    def step(self) -> int:
        """Tokens that one step may hold."""
        return self.batch if self.chunks else max(self.batch, self.context)

    @property
    def cells(self) -> int:
        """Tokens that may be in the KV cache: the longest text, and a step of others beside it."""
        return self.context + self.batch if self.chunks else self.step


def pooling_size(model: Model, settings: EngineSettings, threads: int) -> PoolingSize:
    """How an embedding model runs: what is set, and where nothing is, what it was made for and memory bears.

    Raises:
        TooNew: its pooling gives no vector of a text.
    """
    pooling, architecture = pooling_of(model), model.text_of("general.architecture")
    causal = architecture not in BOTH_WAYS and model.text_of(f"{architecture}.attention.causal") != "false"
    chunks = pooling == lib.LLAMA_POOLING_TYPE_LAST and causal
    largest = USUAL_CONTEXT if chunks else min(USUAL_CONTEXT, max(1, ROW_NUMBERS // model.size))
    context = max(1, min(settings.context or largest, model.trained_context))
    return PoolingSize(context, settings.batch, threads, pooling, chunks, FLASH[settings.flash_attention])


def pooling_of(model: Model) -> int:
    """llama.cpp's number of the model's pooling; the mean where it names none."""
    said = model.text_of(f"{model.text_of('general.architecture')}.pooling_type")
    number = int(said) if said.isdigit() else lib.LLAMA_POOLING_TYPE_NONE
    if number == lib.LLAMA_POOLING_TYPE_NONE:
        return int(lib.LLAMA_POOLING_TYPE_MEAN)
    if number not in NAMES:
        raise TooNew("This model pools in a way that gives no vector of a text.", then="It needs a newer Lumen Box.")
    return number


class PoolingContext:
    """All texts of a step, each a sequence of its own in one KV cache, or in none where the model is an encoder."""

    def __init__(self, model: Model, size: PoolingSize) -> None:
        log = start()
        log.clear()
        self.size, self.parallel = size, MAX_SEQUENCES
        self.width = int(lib.llama_model_n_embd_out(model.handle))
        if not 0 < self.width <= MAX_WIDTH:
            raise TooNew(f"This model's vectors have {self.width} numbers; at most {MAX_WIDTH} can be sent.")
        self.handle = lib.llama_init_from_model(model.handle, _parameters(size))
        if not self.handle:
            raise log.refusal()
        self._memory = lib.llama_get_memory(self.handle)
        self._encodes = not self._memory or lib.llama_model_has_encoder(model.handle)
        self._batch = Batch(size.step)

    def close(self) -> None:
        if self.handle:
            self._batch.close()
            lib.llama_free(self.handle)
            self.handle = None

    @property
    def pooling(self) -> str:
        return NAMES[self.size.pooling]

    @property
    def flash_attention(self) -> bool:
        return self.size.flash == FLASH["on"]

    @property
    def length(self) -> int:
        """Tokens that one text may have."""
        return self.size.context if self.chunks else min(self.size.context, self.size.step)

    @property
    def batch(self) -> int:
        """Tokens of an ordinary step."""
        return self.size.batch

    @property
    def chunks(self) -> bool:
        """Whether a text may be read in several steps: not where llama.cpp keeps nothing of the one before."""
        return self.size.chunks and not self._encodes

    def run(self, runs: Sequence[tuple[int, int, Sequence[int]]]) -> int:
        """One step over (slot, position, tokens), at most ``size.step`` tokens: 0, or llama.cpp's error number."""
        self._batch.fill([(slot, position, tokens, True) for slot, position, tokens in runs])
        compute = lib.llama_encode if self._encodes else lib.llama_decode
        return int(compute(self.handle, self._batch.handle))

    def vector(self, slot: int) -> Floats:
        """The vector of a sequence that ended in the last step; only valid until the next one."""
        return np.ctypeslib.as_array(lib.llama_get_embeddings_seq(self.handle, slot), shape=(self.width,))

    def forget(self, slot: int) -> None:
        """Empties one sequence."""
        if self._memory:
            lib.llama_memory_seq_rm(self._memory, slot, -1, -1)

    def wipe(self) -> None:
        """Overwrites what was kept of all sequences."""
        if self._memory:
            lib.llama_memory_clear(self._memory, True)


def _parameters(size: PoolingSize) -> Any:
    parameters = lib.llama_context_default_params()
    parameters.n_ctx = size.cells
    parameters.n_batch = parameters.n_ubatch = size.step
    parameters.n_seq_max = MAX_SEQUENCES
    parameters.n_threads = parameters.n_threads_batch = size.threads
    parameters.kv_unified = True  # in streams of their own llama.cpp would cut texts of different lengths into pieces
    parameters.embeddings = True
    parameters.pooling_type = size.pooling
    parameters.flash_attn_type = size.flash
    parameters.no_perf = True
    return parameters


def unit(vector: Floats) -> bytes:
    """``vector`` with the length 1, as little-endian 32-bit floats; noughts stay noughts.

    Raises:
        ValueError: a number of it is not finite.
    """
    wide = vector.astype(np.float64)
    length = float(np.sqrt(np.dot(wide, wide)))
    if not np.isfinite(length):
        raise ValueError("the vector is not finite")
    return (wide / length if length else wide).astype("<f4").tobytes()
