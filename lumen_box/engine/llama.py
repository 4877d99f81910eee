"""A thin, typed layer over llama.cpp's C interface: model, context, batch, sampler chain.

With ``weights`` the only module that knows llama.cpp. Objects own what they wrap and free it in ``close``. Whatever
llama.cpp logs is kept in a short list, of which the last error explains a failed load; nothing is printed.
"""

from __future__ import annotations

import ctypes
import functools
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import llama_cpp.llama_cpp as lib
import numpy as np
import numpy.typing as npt

from ..errors import Damaged, LumenError, NoSpace, TooNew
from .constraint import Vocabulary
from .estimate import MICROBATCH, Flash
from .kv import Cells
from .sampling import MAX_SEED, PENALTY_WINDOW, Sampling

Floats = npt.NDArray[np.float32]

WARNING_LEVEL: Final = 3  # GGML_LOG_LEVEL_WARN
ERROR_LEVEL: Final = 4  # GGML_LOG_LEVEL_ERROR
LONGEST_PIECE: Final = 1 << 16  # bytes of one token's text
LOG_LINES: Final = 64
_MIN_KEEP: Final = 1
_FLASH: Final = {
    "auto": lib.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "on": lib.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": lib.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}
_TYPES: Final = {"f16": lib.GGML_TYPE_F16, "q8_0": lib.GGML_TYPE_Q8_0}
_KEEPS_ALL: Final = (lib.LLAMA_VOCAB_TYPE_SPM, lib.LLAMA_VOCAB_TYPE_BPE)


class Log:
    """The last lines that llama.cpp logged, errors apart."""

    def __init__(self) -> None:
        self.errors: deque[str] = deque(maxlen=LOG_LINES)
        self.no_flash_attention = False
        self._callback = lib.llama_log_callback(self._on_line)
        lib.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _on_line(self, level: int, text: bytes, _data: int) -> None:
        if level == ERROR_LEVEL:
            self.errors.append(text.decode("utf-8", "replace").strip())
        elif level == WARNING_LEVEL and b"Flash Attention not supported" in text:
            self.no_flash_attention = True

    def clear(self) -> None:
        """Forgets what was logged so far."""
        self.errors.clear()
        self.no_flash_attention = False

    def refusal(self) -> LumenError:
        """Why the last load failed, as far as llama.cpp says."""
        why = " ".join(self.errors)[:500]
        if "unknown model architecture" in why or "unsupported" in why:
            return TooNew("This model needs a newer engine.", then="Update Lumen Box, then install the model again.")
        if "allocate" in why or "out of memory" in why:
            return NoSpace("The model does not fit in memory.", then="Unload another model, or use a smaller one.")
        return Damaged(f"llama.cpp refuses this model: {why or 'it does not say why'}.", then="Ask its publisher.")


@functools.cache
def start() -> Log:
    """Prepares the library, once."""
    log = Log()
    lib.llama_backend_init()
    return log


class Model:
    """Loaded weights and vocabulary.

    Args:
        file: a ``FILE *`` of the GGUF.
        gpu_layers: layers to put on a GPU.
        progress: hears 0.0 to 1.0.
        check_only: lay everything out, but neither allocate nor read the weights.

    Raises:
        Damaged, TooNew, NoSpace: llama.cpp refuses it.
    """

    def __init__(
        self, file: ctypes.c_void_p, *, gpu_layers: int, progress: Callable[[float], None], check_only: bool = False
    ) -> None:
        log = start()
        log.errors.clear()
        parameters = lib.llama_model_default_params()
        parameters.n_gpu_layers = gpu_layers
        parameters.load_mode = lib.LLAMA_LOAD_MODE_NONE
        parameters.no_alloc = check_only

        def on_progress(done: float, _data: Any) -> bool:
            progress(done)
            return True

        callback = lib.llama_progress_callback(on_progress)
        parameters.progress_callback = callback
        self.handle = lib.llama_model_load_from_file_ptr(file, parameters)
        if not self.handle:
            raise log.refusal()
        self.vocabulary = lib.llama_model_get_vocab(self.handle)
        self.size = int(lib.llama_vocab_n_tokens(self.vocabulary))
        self._pieces: dict[int, bytes] = {}

    def close(self) -> None:
        if self.handle:
            lib.llama_model_free(self.handle)
            self.handle = None

    @property
    def description(self) -> str:
        buffer = ctypes.create_string_buffer(256)
        lib.llama_model_desc(self.handle, buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace")

    @property
    def parameters(self) -> int:
        return int(lib.llama_model_n_params(self.handle))

    @property
    def weight_bytes(self) -> int:
        return int(lib.llama_model_size(self.handle))

    @property
    def trained_context(self) -> int:
        return int(lib.llama_model_n_ctx_train(self.handle))

    @property
    def layers(self) -> int:
        return int(lib.llama_model_n_layer(self.handle))

    def text_of(self, key: str, most: int = 1 << 20) -> str:
        """A metadata value as text; empty where there is none, or where it is longer than ``most`` bytes."""
        name = key.encode()
        size = lib.llama_model_meta_val_str(self.handle, name, None, 0)
        if not 0 < size <= most:
            return ""
        buffer = ctypes.create_string_buffer(size + 1)
        lib.llama_model_meta_val_str(self.handle, name, buffer, size + 1)
        return buffer.value.decode("utf-8", "replace")

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Token ids. With ``add_special`` the begin-of-sequence token is put in front, where the model wants one and
        the text does not begin with it already."""
        data = text.encode("utf-8", "replace")
        room = len(data) + 2
        tokens = (lib.llama_token * room)()
        count = lib.llama_tokenize(self.vocabulary, data, len(data), tokens, room, add_special, parse_special)
        if count < 0:
            raise Damaged("The model's tokenizer does not give a sensible number of tokens.")
        ids = list(tokens[:count])
        doubled = add_special and len(ids) > 1 and ids[0] == ids[1] == self.bos
        return ids[1:] if doubled else ids

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of one token. A control token has none unless ``special``."""
        if special:
            return self._piece(token, True)
        if token not in self._pieces:
            self._pieces[token] = self._piece(token, False)
        return self._pieces[token]

    def show(self, text: str) -> None:
        """Makes a token with exactly this text visible even where it is a control token (a reasoning marker)."""
        ids = self.tokenize(text, add_special=False, parse_special=True)
        if len(ids) == 1:
            self._pieces[ids[0]] = text.encode()

    def _piece(self, token: int, special: bool) -> bytes:
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            written = lib.llama_token_to_piece(self.vocabulary, token, buffer, size, 0, special)
            if written >= 0:
                return buffer.raw[:written]
            if -written > LONGEST_PIECE:
                raise Damaged("A token of the model is longer than any should be.")
            size = -written

    def ends(self, token: int) -> bool:
        """Whether the token ends an answer (end of text, end of turn)."""
        return bool(lib.llama_vocab_is_eog(self.vocabulary, token))

    @functools.cached_property
    def controls(self) -> tuple[str, ...]:
        """The texts that are read as tokens of their own wherever special tokens are looked for, and only there."""
        steering = lib.LLAMA_TOKEN_ATTR_CONTROL | lib.LLAMA_TOKEN_ATTR_UNKNOWN
        return tuple(
            self.text_of_token(token)
            for token in range(self.size)
            if lib.llama_vocab_get_attr(self.vocabulary, token) & steering
        )

    @functools.cached_property
    def ending(self) -> tuple[int, ...]:
        return tuple(token for token in range(self.size) if self.ends(token))

    @functools.cached_property
    def spelled(self) -> Vocabulary:
        """What every token adds to an answer, for grammars; some 0.3 s for a large vocabulary, once."""
        return Vocabulary([self.piece(token) for token in range(self.size)])

    @functools.cached_property
    def longest_piece(self) -> int | None:
        """Bytes of the longest token; None where the tokenizer may drop part of a text, so that this bounds nothing."""
        if lib.llama_vocab_type(self.vocabulary) not in _KEEPS_ALL:
            return None
        return max(1, *(len(self._piece(token, True)) for token in range(self.size)))

    @property
    def bos(self) -> int:
        return int(lib.llama_vocab_bos(self.vocabulary))

    @property
    def eos(self) -> int:
        return int(lib.llama_vocab_eos(self.vocabulary))

    def text_of_token(self, token: int) -> str:
        return self._piece(token, True).decode("utf-8", "replace") if 0 <= token < self.size else ""


@dataclass(frozen=True)
class ContextSize:
    """``context`` tokens of each of ``parallel`` sequences, ``batch`` tokens of one step. With ``auto`` llama.cpp
    decides on flash attention."""

    context: int
    parallel: int
    batch: int
    threads: int
    kv_type: str = "f16"
    flash_attention: Flash = "off"


class Context:
    """The KV cache of all sequences, each in a stream of its own, and the step that fills it."""

    def __init__(self, model: Model, size: ContextSize) -> None:
        log = start()
        log.clear()
        parameters = lib.llama_context_default_params()
        parameters.n_ctx = size.context * size.parallel
        parameters.n_seq_max = size.parallel
        parameters.n_batch = size.batch
        parameters.n_ubatch = min(size.batch, MICROBATCH)
        parameters.n_threads = parameters.n_threads_batch = size.threads
        parameters.kv_unified = False
        parameters.flash_attn_type = _FLASH[size.flash_attention]
        parameters.type_k = parameters.type_v = _TYPES[size.kv_type]
        parameters.no_perf = True
        self.handle = lib.llama_init_from_model(model.handle, parameters)
        if not self.handle:
            raise log.refusal()
        self.flash_attention = size.flash_attention != "off" and not log.no_flash_attention
        self.weight_bytes = model.weight_bytes
        self.cells = Cells(self.handle, model.handle, size.parallel)
        self._vocabulary = model.size
        self._batch = Batch(size.batch)

    def close(self) -> None:
        if self.handle:
            self._batch.close()
            lib.llama_free(self.handle)
            self.handle = None

    @property
    def length(self) -> int:
        """Tokens that one sequence may hold."""
        return int(lib.llama_n_ctx_seq(self.handle))

    @property
    def batch(self) -> int:
        """Tokens that one step may hold."""
        return int(lib.llama_n_batch(self.handle))

    @property
    def keeps(self) -> bool:
        """Whether there is a KV cache or state at all; without one nothing can be written token by token."""
        return self.cells.present

    def decode(self, runs: Sequence[tuple[int, int, Sequence[int], bool]]) -> int:
        """One step over (slot, position, tokens, wanted): 0, or llama.cpp's error number.

        Where ``wanted``, the logits after a run's last token can be sampled from at :meth:`row`.
        """
        for slot, position, tokens, _ in runs:
            self.cells.written(slot, position + len(tokens))
        self._batch.fill(runs)
        return int(lib.llama_decode(self.handle, self._batch.handle))

    def logits(self, row: int) -> Floats:
        """The logits at a row of the last step; only valid until the next one."""
        return np.ctypeslib.as_array(lib.llama_get_logits_ith(self.handle, row), shape=(self._vocabulary,))


class Batch:
    """llama.cpp's arrays for one step, written through NumPy views."""

    def __init__(self, tokens: int) -> None:
        self.handle = lib.llama_batch_init(tokens, 0, 1)

        def view(pointer: Any) -> Any:
            return np.ctypeslib.as_array(pointer, shape=(tokens,))

        self._tokens, self._positions = view(self.handle.token), view(self.handle.pos)
        self._wanted = view(self.handle.logits)
        self._slots = [self.handle.seq_id[i] for i in range(tokens)]
        view(self.handle.n_seq_id)[:] = 1

    def close(self) -> None:
        lib.llama_batch_free(self.handle)

    def fill(self, runs: Sequence[tuple[int, int, Sequence[int], bool]]) -> None:
        row = 0
        for slot, position, tokens, wanted in runs:
            end = row + len(tokens)
            self._tokens[row:end] = tokens
            self._positions[row:end] = range(position, position + len(tokens))
            self._wanted[row:end] = 0
            self._wanted[end - 1] = wanted
            for i in range(row, end):
                self._slots[i][0] = slot
            row = end
        self.handle.n_tokens = row


class SamplerChain:
    """Draws one request's tokens: penalties, then greedy, or top-k, top-p, min-p, temperature and the dice.

    The order is that of llama-cpp-python's ``Llama``; members that would do nothing are left out, which changes no
    token. Every chain has random numbers of its own.
    """

    def __init__(self, sampling: Sampling, model: Model) -> None:
        self.handle = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        if sampling.ignore_eos:
            self._never(model)
        if sampling.penalised:
            self._add(
                lib.llama_sampler_init_penalties(
                    model.size,
                    PENALTY_WINDOW,
                    sampling.repeat_penalty,
                    sampling.frequency_penalty,
                    sampling.presence_penalty,
                )
            )
        if sampling.greedy:
            self._add(lib.llama_sampler_init_greedy())
            return
        if sampling.top_k:
            self._add(lib.llama_sampler_init_top_k(sampling.top_k))
        self._add(lib.llama_sampler_init_top_p(sampling.top_p, _MIN_KEEP))
        self._add(lib.llama_sampler_init_min_p(sampling.min_p, _MIN_KEEP))
        self._add(lib.llama_sampler_init_temp(sampling.temperature))
        seed = secrets.randbelow(MAX_SEED + 1) if sampling.seed is None else sampling.seed
        self._add(lib.llama_sampler_init_dist(seed))

    def _add(self, sampler: Any) -> None:
        lib.llama_sampler_chain_add(self.handle, sampler)

    def _never(self, model: Model) -> None:
        """The tokens that end an answer get no probability at all."""
        biases = (lib.llama_logit_bias * len(model.ending))()
        for entry, token in zip(biases, model.ending, strict=True):
            entry.token, entry.bias = token, float("-inf")
        self._add(lib.llama_sampler_init_logit_bias(model.size, len(biases), biases))

    def sample(self, context: Context, row: int) -> int:
        """The next token after ``row`` of the last step, remembered for the penalties."""
        return int(lib.llama_sampler_sample(self.handle, context.handle, row))

    def close(self) -> None:
        if self.handle:
            lib.llama_sampler_free(self.handle)
            self.handle = None
