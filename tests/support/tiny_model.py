"""A small but real model: llama architecture, own tokenizer, own chat template, random weights from a seed.

It talks nonsense, variedly, through the real engine. What it says can be steered where a test needs it:

* ``end_bias`` raises or lowers the end of the answer against all other tokens (a logit: 10 ends
  after some 100 tokens, 30 at once; ``None`` lets it never end),
* ``script`` makes it say exactly these tokens after the template's generation prompt, and then end,
* ``planted`` adds whole tokens whose text a search for plaintext can look for,
* ``reasoning`` names the markers of a reasoning model; ``template`` replaces the chat template,
* ``pooling`` (llama.cpp's number) makes it a model that embeds.

How: in every embedding dimension 0 is constant, and the layers never write there, so an output row's weight in it is
a bias. Dimension 1 + n is set in one token's embedding only and looked at by one output row only, so it makes the one
follow the other. The layers neither read nor write these dimensions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lumen_box.gguf import values as v
from lumen_box.gguf.writer import NewTensor, write_gguf

from . import tiny_vocabulary as tv

Floats = npt.NDArray[np.float32]

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim"
    " + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
REASONING = (tv.THINK, tv.THOUGHT)
TELLTALE_TENSOR = "blk.0.ffn_gate.weight"
TELLTALE_TOKEN = "xylophonbirdseye"

_CONSTANT, _LINK = 6.0, 12.0  # what the steering dimensions hold
_NEVER = -40.0
_STRONG = 60.0


@dataclass(frozen=True)
class Shape:
    """The sizes of a model; ``width`` must be a multiple of 32 and of ``2 * heads``."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    hidden: int
    context: int

    @property
    def head(self) -> int:
        return self.width // self.heads


def write_tiny_model(
    path: Path,
    *,
    seed: int = 0,
    context: int = 512,
    layers: int = 2,
    width: int = 64,
    heads: int = 4,
    kv_heads: int = 2,
    hidden: int | None = None,
    quantisation: str = "Q8_0",
    merges: int = 300,
    vocabulary_size: int | None = None,
    end_bias: float | None = None,
    sharpness: float = 2.5,
    script: Sequence[str | bytes] = (),
    planted: Sequence[str] = (TELLTALE_TOKEN,),
    reasoning: tuple[str, str] = REASONING,
    template: str | None = TEMPLATE,
    add_bos: bool = True,
    pooling: int | None = None,
    name: str = "Tiny",
) -> Path:
    """Writes a new GGUF at ``path`` and returns the path; 2 layers of 64 take a fraction of a second.

    ``quantisation`` is ``F32``, ``F16`` or ``Q8_0`` and holds for the matrices. A benchmark's model of about 250
    million parameters: ``layers=18, width=1024, heads=16, kv_heads=4, hidden=3072, vocabulary_size=32000``.
    """
    raw_script = [piece.encode() if isinstance(piece, str) else piece for piece in script]
    plants = [
        *(word.encode() for word in planted),
        *(raw for raw in raw_script if raw.decode("latin1") not in reasoning),
    ]
    vocabulary = tv.build(merges, plants, reasoning, vocabulary_size)
    shape = Shape(layers, width, heads, kv_heads, hidden or 3 * width, context)
    steering = _Steering.of(vocabulary, script, end_bias, reasoning)
    tensors = list(_tensors(shape, vocabulary, steering, v.BY_NAME[quantisation], sharpness, seed))
    keys = metadata(vocabulary, shape, name=name, template=template, add_bos=add_bos)
    if pooling is not None:
        keys["llama.pooling_type"] = v.u32(pooling)
    write_gguf(path, keys, tensors)
    return path


def metadata(
    vocabulary: tv.Vocabulary,
    shape: Shape,
    *,
    name: str = "Tiny",
    template: str | None = TEMPLATE,
    add_bos: bool = True,
) -> dict[str, v.Value]:
    """The header's keys as llama.cpp wants them for ``general.architecture = llama``."""
    keys = {
        "general.architecture": v.text("llama"),
        "general.name": v.text(name),
        "general.license": v.text("Apache-2.0"),
        "llama.context_length": v.u32(shape.context),
        "llama.embedding_length": v.u32(shape.width),
        "llama.block_count": v.u32(shape.layers),
        "llama.feed_forward_length": v.u32(shape.hidden),
        "llama.attention.head_count": v.u32(shape.heads),
        "llama.attention.head_count_kv": v.u32(shape.kv_heads),
        "llama.attention.layer_norm_rms_epsilon": v.f32(1e-5),
        "llama.rope.dimension_count": v.u32(shape.head),
        "llama.rope.freq_base": v.f32(10000.0),
        "llama.vocab_size": v.u32(len(vocabulary.tokens)),
        "tokenizer.ggml.model": v.text("gpt2"),
        "tokenizer.ggml.pre": v.text("gpt-2"),
        "tokenizer.ggml.tokens": v.array(v.ValueType.STRING, vocabulary.tokens),
        "tokenizer.ggml.token_type": v.array(v.ValueType.I32, vocabulary.types),
        "tokenizer.ggml.merges": v.array(v.ValueType.STRING, (f"{a} {b}" for a, b in vocabulary.merges)),
        "tokenizer.ggml.bos_token_id": v.u32(vocabulary.id(tv.BOS)),
        "tokenizer.ggml.eos_token_id": v.u32(vocabulary.id(tv.END)),
        "tokenizer.ggml.add_bos_token": v.flag(add_bos),
    }
    return keys if template is None else keys | {"tokenizer.chat_template": v.text(template)}


@dataclass(frozen=True)
class _Steering:
    """Biases by token id, and links: after the first token of a pair comes the second."""

    biases: dict[int, float]
    links: tuple[tuple[int, int], ...]

    @classmethod
    def of(
        cls, vocabulary: tv.Vocabulary, script: Sequence[str | bytes], end_bias: float | None, markers: Sequence[str]
    ) -> _Steering:
        never = [vocabulary.id(bytes([byte])) for byte in range(256) if not 0x20 <= byte < 0x7F]
        halves = [(vocabulary.id(first), vocabulary.id(second)) for first, second in tv.SPLIT]
        never += [vocabulary.id(text) for text in (tv.BOS, tv.START, *markers)] + [second for _, second in halves]
        never += [token for token, text in enumerate(vocabulary.tokens) if text.startswith("filler")]
        biases = dict.fromkeys(never, _NEVER) | {first: 1.0 for first, _ in halves}
        biases[vocabulary.id(tv.END)] = _NEVER if end_bias is None else end_bias
        said = [vocabulary.id(piece) for piece in script]
        biases |= {token: _NEVER for token in said if token not in biases}
        path = [vocabulary.id(b"\n"), *said, vocabulary.id(tv.END)] if said else []
        return cls(biases, (*halves, *itertools.pairwise(path)))


def _tensors(
    shape: Shape, vocabulary: tv.Vocabulary, steering: _Steering, kind: v.TensorType, sharpness: float, seed: int
) -> Iterator[NewTensor]:
    rng = np.random.default_rng(seed)
    count, free = len(vocabulary.tokens), 1 + len(steering.links)
    if free > shape.width // 2:
        raise ValueError(f"{free} steering dimensions are too many for a width of {shape.width}")

    def ones(name: str) -> NewTensor:
        return NewTensor(name, (shape.width,), v.BY_NAME["F32"], [np.ones(shape.width, "<f4").tobytes()])

    def matrix(name: str, columns: int, rows: int, gain: float = 1.0, still: bool = False) -> NewTensor:
        """``rows`` outputs of ``columns`` inputs. A still one does not write the steering dimensions, the rest do
        not read them; otherwise their size would push every token the same way."""

        def data() -> Iterator[bytes]:
            weights = rng.standard_normal((rows, columns), np.float32) * np.float32(gain / math.sqrt(columns))
            if still:
                weights[:free] = 0
            else:
                weights[:, :free] = 0
            yield stored(weights, kind)

        return NewTensor(name, (columns, rows), kind, data())

    # Embedding and output are always F16, since a quantised block would drown in its steering dimension.
    half = v.BY_NAME["F16"]
    embedding = _embedding(rng, count, shape.width, steering)
    output = _output(rng, count, shape.width, steering, sharpness, embedding)
    yield NewTensor("token_embd.weight", (shape.width, count), half, [stored(embedding, half)])
    yield ones("output_norm.weight")
    yield NewTensor("output.weight", (shape.width, count), half, [stored(output, half)])
    calm = math.sqrt(2 / shape.layers)  # many layers together must not drown the steering dimensions
    for layer in range(shape.layers):
        blk = f"blk.{layer}"
        yield ones(f"{blk}.attn_norm.weight")
        yield matrix(f"{blk}.attn_q.weight", shape.width, shape.width, 3.0)
        yield matrix(f"{blk}.attn_k.weight", shape.width, shape.head * shape.kv_heads, 3.0)
        yield matrix(f"{blk}.attn_v.weight", shape.width, shape.head * shape.kv_heads, 2.0)
        yield matrix(f"{blk}.attn_output.weight", shape.width, shape.width, calm, still=True)
        yield ones(f"{blk}.ffn_norm.weight")
        yield matrix(f"{blk}.ffn_gate.weight", shape.width, shape.hidden)
        yield matrix(f"{blk}.ffn_up.weight", shape.width, shape.hidden)
        yield matrix(f"{blk}.ffn_down.weight", shape.hidden, shape.width, calm, still=True)


def _embedding(rng: np.random.Generator, count: int, width: int, steering: _Steering) -> Floats:
    weights = rng.standard_normal((count, width), np.float32)
    weights[:, : 1 + len(steering.links)] = 0
    weights[:, 0] = _CONSTANT
    for dimension, (first, _) in enumerate(steering.links, 1):
        weights[first, dimension] = _LINK
    return weights


def _output(
    rng: np.random.Generator, count: int, width: int, steering: _Steering, sharpness: float, embedding: Floats
) -> Floats:
    """Rows whose logits vary by ``sharpness``, plus biases and links, for a hidden state of about unit size."""
    weights = rng.standard_normal((count, width), np.float32) * np.float32(sharpness / math.sqrt(width))
    weights -= embedding * np.float32(2 / math.sqrt(width))  # no token likes to follow itself
    weights[:, : 1 + len(steering.links)] = 0
    norm = math.sqrt((width + _CONSTANT**2) / width)
    for token, bias in steering.biases.items():
        weights[token] = 0
        weights[token, 0] = bias * norm / _CONSTANT
    linked = math.sqrt((width + _CONSTANT**2 + _LINK**2) / width)
    for dimension, (_, second) in enumerate(steering.links, 1):
        weights[second, dimension] = (_STRONG - _NEVER) * linked / _LINK
    return weights


def stored(weights: Floats, kind: v.TensorType) -> bytes:
    """``weights`` as the file keeps them; Q8_0 is 32 signed bytes under one half-precision scale."""
    if kind.name != "Q8_0":
        return weights.astype({"F32": "<f4", "F16": "<f2"}[kind.name]).tobytes()
    blocks = weights.reshape(-1, 32)
    scale = (np.abs(blocks).max(axis=1, keepdims=True) / 127).astype("<f2")
    quants = np.rint(blocks / np.maximum(scale.astype(np.float32), 1e-12)).clip(-127, 127).astype(np.int8)
    return np.concatenate([scale.view(np.uint8), quants.view(np.uint8)], axis=1).tobytes()
