"""What a model takes in memory, from the header of its file: pure numbers, as llama.cpp works them out.

Keys and values of a layer are as wide as its key-value heads together, and keep a row for every token. A sliding
window saves nothing here: its layers keep all rows, because a row that was dropped cannot be had back when a
conversation is continued from the middle. A recurrent layer keeps one state a sequence, however long it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..gguf.model import Gguf
from ..gguf.summary import reads_in_pieces
from ..gguf.values import ValueType

Q8_BLOCK: Final = 32  # values that share a scale in q8_0
ROW_BYTES: Final = {"f16": 2.0, "q8_0": 34 / 32}  # of one value
STATE_BYTES: Final = 4  # of one value of a recurrent state


@dataclass(frozen=True)
class Shape:
    """``weights`` are bytes of all tensors, ``blocks`` of those in layers; ``width`` counts the values that all layers
    keep of one token, ``state`` the bytes that all recurrent layers keep of one sequence. ``scores`` counts the values
    that attention computes for one token and one token before it; ``widest`` the most values between two layers.
    ``pieces``: an embedding model that may read a text in several steps."""

    layers: int
    weights: int
    blocks: int
    trained: int
    vocabulary: int
    width: int
    state: int
    scores: int
    widest: int
    quantisable: bool
    pieces: bool = False

    def kv_bytes(self, kv_type: str, context: int, parallel: int) -> int:
        """Of the whole cache; each sequence has ``context`` cells."""
        return parallel * (int(self.width * ROW_BYTES[kv_type]) * context + self.state)


def shape_of(header: Gguf) -> Shape:
    """The sizes of the model in ``header``, which has been checked (see ``gguf.reader``)."""
    layers = max(_integer(header, "block_count"), 1)
    heads = _each(header, "attention.head_count", layers) or [0] * layers
    shared = _each(header, "attention.head_count_kv", layers) or heads
    embedding = _integer(header, "embedding_length")
    head = embedding // max(*heads, 1)
    key = _integer(header, "attention.key_length") or head
    value = _integer(header, "attention.value_length") or head
    recurrent = _recurrent(header)
    kept = [0 if layer in recurrent else count for layer, count in enumerate(shared)]
    latent = bool(_integer(header, "attention.key_length_mla"))  # one row serves as key and as value
    blocks = sum(tensor.size for tensor in header.tensors if tensor.name.startswith("blk."))
    hidden = max(_each(header, "feed_forward_length", layers) or [0])
    experts = _integer(header, "expert_used_count") * _integer(header, "expert_feed_forward_length")
    return Shape(
        layers=layers,
        weights=sum(tensor.size for tensor in header.tensors),
        blocks=blocks,
        trained=header.context_length,
        vocabulary=len(header.tokens),
        width=sum(kept) * (key + (0 if latent else value)),
        state=len(recurrent) * _state(header, embedding) * STATE_BYTES,
        scores=max(heads) if any(kept) else 0,
        widest=4 * embedding + 2 * max(hidden, experts),
        quantisable=key % Q8_BLOCK == 0 and value % Q8_BLOCK == 0,
        pieces=reads_in_pieces(header),
    )


def _integer(header: Gguf, name: str) -> int:
    """A number about the architecture; 0 where there is none, or one a layer."""
    key = f"{header.architecture}.{name}"
    value = header.metadata.get(key)
    return 0 if value is None or value.type is ValueType.ARRAY else header.integer(key) or 0


def _each(header: Gguf, name: str, layers: int) -> list[int]:
    """One number for every layer; the file may give one for all. Empty where it gives none."""
    value = header.metadata.get(f"{header.architecture}.{name}")
    if value is None:
        return []
    if isinstance(value.data, tuple):
        return [int(one) for one in value.data][:layers]
    return [_integer(header, name)] * layers


def _recurrent(header: Gguf) -> set[int]:
    """The layers that keep a state instead of rows, by the names of their tensors."""
    marks = ("ssm_", "time_mix_", "shortconv.")
    names = [tensor.name.split(".", 2) for tensor in header.tensors if tensor.name.startswith("blk.")]
    return {int(name[1]) for name in names if len(name) == 3 and name[1].isdecimal() and name[2].startswith(marks)}


def _state(header: Gguf, embedding: int) -> int:
    """Values of one layer's state: what the convolution remembers, and the state itself."""
    if head := _integer(header, "wkv.head_size"):
        return embedding * (head + max(_integer(header, "token_shift_count"), 2))
    if window := _integer(header, "shortconv.l_cache"):
        return embedding * (window - 1)
    inner, state = _integer(header, "ssm.inner_size"), _integer(header, "ssm.state_size")
    groups = max(_integer(header, "ssm.group_count"), 1)
    return (max(_integer(header, "ssm.conv_kernel"), 1) - 1) * (inner + 2 * groups * state) + state * inner
