"""A small but real embedding model: BERT architecture, WordPiece vocabulary, random weights from a seed.

It sees a text from both ends and has no KV cache, as the models do that most people embed with. Nearly every text of
the page in ``tiny_vocabulary`` is made of whole words that it knows; every other one of their letters.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lumen_box.gguf import values as v
from lumen_box.gguf.writer import NewTensor, write_gguf

from .tiny_model import stored
from .tiny_vocabulary import CONTROL, NORMAL, TEXT

NONE, MEAN, CLS, LAST, RANK = range(5)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def write_tiny_bert(
    path: Path,
    *,
    seed: int = 0,
    context: int = 256,
    layers: int = 2,
    width: int = 64,
    heads: int = 4,
    pooling: int | None = MEAN,
    causal: bool | None = False,
    spoilt: bool = False,
    name: str = "Tiny BERT",
) -> Path:
    """Writes a new GGUF at ``path`` and returns the path. ``pooling`` and ``causal`` None leave their key out, as some
    files do; a ``spoilt`` one has a weight that is not a number."""
    tokens = vocabulary()
    keys = {
        "general.architecture": v.text("bert"),
        "general.name": v.text(name),
        "general.license": v.text("Apache-2.0"),
        "bert.context_length": v.u32(context),
        "bert.embedding_length": v.u32(width),
        "bert.block_count": v.u32(layers),
        "bert.feed_forward_length": v.u32(2 * width),
        "bert.attention.head_count": v.u32(heads),
        "bert.attention.layer_norm_epsilon": v.f32(1e-12),
        "tokenizer.ggml.model": v.text("bert"),
        "tokenizer.ggml.token_type_count": v.u32(2),
        "tokenizer.ggml.tokens": v.array(v.ValueType.STRING, tokens),
        "tokenizer.ggml.token_type": v.array(
            v.ValueType.I32, [CONTROL] * len(SPECIAL) + [NORMAL] * (len(tokens) - len(SPECIAL))
        ),
        "tokenizer.ggml.padding_token_id": v.u32(0),
        "tokenizer.ggml.unknown_token_id": v.u32(1),
        "tokenizer.ggml.bos_token_id": v.u32(2),
        "tokenizer.ggml.seperator_token_id": v.u32(3),
    }
    if pooling is not None:
        keys["bert.pooling_type"] = v.u32(pooling)
    if causal is not None:
        keys["bert.attention.causal"] = v.flag(causal)
    write_gguf(path, keys, list(_tensors(len(tokens), context, layers, width, seed, spoilt)))
    return path


def vocabulary() -> tuple[str, ...]:
    """The special tokens, the letters at the beginning of a word and within one, and the words of the page."""
    letters = string.ascii_lowercase + string.digits + string.punctuation
    words = sorted(set(re.findall("[a-z]{2,}", TEXT.lower())))
    return (*SPECIAL, *(f"▁{letter}" for letter in letters), *letters, *(f"▁{word}" for word in words))


def _tensors(count: int, context: int, layers: int, width: int, seed: int, spoilt: bool) -> Iterator[NewTensor]:
    rng = np.random.default_rng(seed)
    full, half = v.BY_NAME["F32"], v.BY_NAME["F16"]

    def vector(name: str, size: int, middle: float) -> NewTensor:
        data = (middle + 0.1 * rng.standard_normal(size)).astype("<f4")
        return NewTensor(name, (size,), full, [data.tobytes()])

    def matrix(name: str, columns: int, rows: int, gain: float = 1.0, kind: v.TensorType = half) -> NewTensor:
        weights = rng.standard_normal((rows, columns), np.float32) * np.float32(gain / math.sqrt(columns))
        if spoilt and name == "blk.0.attn_output.weight":
            weights[0, 0] = np.nan
        return NewTensor(name, (columns, rows), kind, [stored(weights, kind)])

    scale = math.sqrt(width)
    yield matrix("token_embd.weight", width, count, scale)
    yield matrix("token_types.weight", width, 2, 0.1 * scale, full)
    yield matrix("position_embd.weight", width, context, 0.3 * scale, full)
    yield vector("token_embd_norm.weight", width, 1)
    yield vector("token_embd_norm.bias", width, 0)
    for layer in range(layers):
        blk = f"blk.{layer}"
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield matrix(f"{blk}.{part}.weight", width, width, 1.5)
            yield vector(f"{blk}.{part}.bias", width, 0)
        yield vector(f"{blk}.attn_output_norm.weight", width, 1)
        yield vector(f"{blk}.attn_output_norm.bias", width, 0)
        yield matrix(f"{blk}.ffn_up.weight", width, 2 * width)
        yield vector(f"{blk}.ffn_up.bias", 2 * width, 0)
        yield matrix(f"{blk}.ffn_down.weight", 2 * width, width)
        yield vector(f"{blk}.ffn_down.bias", width, 0)
        yield vector(f"{blk}.layer_output_norm.weight", width, 1)
        yield vector(f"{blk}.layer_output_norm.bias", width, 0)
