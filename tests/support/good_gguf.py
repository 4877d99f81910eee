"""Small sound GGUF files, one for each kind of tokenizer; bad ones are made from them by one change each.

They hold no whole model (one embedding and one norm), only what the reader checks; llama.cpp loads their vocabulary.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from lumen_box.gguf import values as v
from lumen_box.gguf.writer import NewTensor, stream_gguf

from .tiny_vocabulary import byte_letters

Metadata = dict[str, v.Value]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
WIDTH = 32


def strings(words: Sequence[str]) -> v.Value:
    return v.array(v.ValueType.STRING, words)


def numbers(items: Sequence[int]) -> v.Value:
    return v.array(v.ValueType.I32, items)


def scores(items: Sequence[float]) -> v.Value:
    return v.array(v.ValueType.F32, items)


def charsmap() -> v.Value:
    """Maps the letter A to a, and nothing else: a double array of two blocks of 256 units, then the string."""
    units = [0] * 512
    units[0] = 256 << 10  # the root's children begin at 256
    letter = 256 ^ ord("A")
    below = 256
    units[letter] = ord("A") | 0x100 | ((letter ^ below) << 10)
    units[below] = 0x8000_0000  # the value: replacement number 0
    raw = struct.pack("<I512I", 2048, *units) + b"a\0"
    return v.array(v.ValueType.U8, list(raw))


def tokenizer(kind: str) -> Metadata:
    """The tokenizer's keys for one kind."""
    pieces = ["▁", "▁a", "a", "b", "c"]
    keys: Metadata = {"tokenizer.ggml.model": v.text(kind)}
    if kind == "llama":
        tokens = ["<unk>", "<s>", "</s>", *BYTES, *pieces]
        types = [2, 3, 3] + [6] * 256 + [1] * len(pieces)
        return keys | _lists(tokens, types) | {"tokenizer.ggml.scores": scores([0.0] * len(tokens))}
    if kind == "gpt2":
        tokens = [*byte_letters().values(), "ab", "<|end|>"]
        types = [1] * 257 + [3]
        merges = {"tokenizer.ggml.merges": strings(["a b"]), "tokenizer.ggml.pre": v.text("gpt-2")}
        return keys | _lists(tokens, types) | merges | {"tokenizer.ggml.eos_token_id": v.u32(257)}
    if kind == "gemma4":
        tokens = ["<pad>", "<eos>", "<bos>", "<unk>", *BYTES, *pieces, "\n"]
        types = [3, 3, 3, 2] + [6] * 256 + [1] * (len(pieces) + 1)
        ids = {"tokenizer.ggml.bos_token_id": v.u32(2), "tokenizer.ggml.eos_token_id": v.u32(1)}
        return keys | _lists(tokens, types) | ids | {"tokenizer.ggml.merges": strings(["▁ a"])}
    if kind == "bert":
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *pieces]
        ids = {
            f"tokenizer.ggml.{name}_token_id": v.u32(n)
            for n, name in enumerate(("padding", "unknown", "bos", "seperator"))
        }
        return keys | _lists(tokens, [3] * 4 + [1] * len(pieces)) | ids
    if kind == "t5":
        tokens = ["<pad>", "</s>", "<unk>", *pieces]
        more = {
            "tokenizer.ggml.scores": scores([-1.0] * len(tokens)),
            "tokenizer.ggml.precompiled_charsmap": charsmap(),
        }
        return keys | _lists(tokens, [3, 3, 2] + [1] * len(pieces)) | more
    if kind == "rwkv":
        tokens = ["<s>", *(f"\\x{byte:02x}" for byte in range(256)), "ab", "\\ta"]
        return keys | _lists(tokens, [1] * len(tokens))
    raise ValueError(kind)


KINDS = ("llama", "gpt2", "gemma4", "bert", "t5", "rwkv")


def _lists(tokens: Sequence[str], types: Sequence[int]) -> Metadata:
    return {"tokenizer.ggml.tokens": strings(tokens), "tokenizer.ggml.token_type": numbers(types)}


def header(kind: str = "llama") -> Metadata:
    """All keys of a small llama-architecture model."""
    return {
        "general.architecture": v.text("llama"),
        "llama.block_count": v.u32(1),
        "llama.context_length": v.u32(64),
        "llama.embedding_length": v.u32(WIDTH),
        "llama.feed_forward_length": v.u32(WIDTH),
        "llama.attention.head_count": v.u32(4),
        "llama.attention.head_count_kv": v.u32(2),
        "llama.attention.layer_norm_rms_epsilon": v.f32(1e-5),
        "llama.rope.dimension_count": v.u32(8),
    } | tokenizer(kind)


def tensors(metadata: Metadata) -> list[NewTensor]:
    """An embedding with a row for every token, and a norm."""
    tokens = metadata["tokenizer.ggml.tokens"].data if "tokenizer.ggml.tokens" in metadata else ()
    rows = len(tokens) if isinstance(tokens, tuple) else 1
    return [tensor("token_embd.weight", (WIDTH, max(rows, 1)), "Q8_0"), tensor("output_norm.weight", (WIDTH,))]


def tensor(name: str, shape: tuple[int, ...], kind: str = "F32") -> NewTensor:
    return NewTensor(name, shape, v.BY_NAME[kind], [bytes(v.BY_NAME[kind].bytes_of(shape))])


def file(metadata: Metadata, parts: Sequence[NewTensor] | None = None) -> bytes:
    """The whole file."""
    return b"".join(stream_gguf(metadata, tensors(metadata) if parts is None else parts))
