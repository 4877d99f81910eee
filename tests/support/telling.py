"""Two tiny models that make visible what ordinary ones would hide; both are real, and only their weights are made up.

* A *parrot* says a marker as soon as it is anywhere in what the model attends to, and never otherwise: one KV cell of
  somebody else's in the wrong place, and it is said aloud. One head of the first layer looks for markers alone: keys
  answer to the dimension that only a marker's embedding has, values carry which marker it was, and the output looks
  there. Every other head is as random as in other tiny models.
* A *die* finds some tokens equally likely, to the last bit and whatever was said before, and all others as good as
  impossible. Which of them is drawn is then a matter of the random stream alone, not of how sums were rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lumen_box.gguf.reader import read_header

from . import tiny_vocabulary as tv
from .tiny_model import REASONING, write_tiny_model

WIDTH, HEAD = 64, 16
SEEN, SAID = 48, 56  # the first of the dimensions that hold which marker is embedded here, and which was attended to
MOST = SAID - SEEN
_LOOK = HEAD - 2  # rotary embeddings turn the last pair of a head so little that the distance does not matter
_MERGES = 300

Weights = npt.NDArray[np.floating]


def write_parrot(path: Path, markers: Sequence[str]) -> tuple[int, ...]:
    """Writes the model and returns the markers' tokens; at most ``MOST`` of them."""
    assert len(markers) <= MOST
    write_tiny_model(path, quantisation="F32", width=WIDTH, merges=_MERGES, planted=markers)
    tensors, tokens = _tensors(path), _tokens(markers)
    for name, weights in tensors.items():
        if name.endswith(("attn_output.weight", "ffn_down.weight")):
            weights[SEEN:] = 0  # these write to the dimensions, the others read from them
        elif weights.ndim == 2:
            weights[:, SEEN:] = 0
    _look_for_markers(*(tensors[f"blk.0.attn_{name}.weight"] for name in ("q", "k", "v", "output")))
    embedding, output = tensors["token_embd.weight"], tensors["output.weight"]
    for number, token in enumerate(tokens):
        embedding[token, SEEN + number] = 12
        output[token] = 0
        output[token, 0] = -8  # by itself it is never said
        output[token, SAID + number] = 30
    return tokens


def _look_for_markers(q: Weights, k: Weights, v: Weights, out: Weights) -> None:
    """Gives the first head, and the one that shares its keys, to the markers: whatever is asked, the key is a marker's
    if there is one, and the value says which."""
    q[: 2 * HEAD] = 0
    k[:HEAD] = 0
    v[:HEAD] = 0
    out[:, : 2 * HEAD] = 0
    q[_LOOK, 0] = 2
    k[_LOOK, SEEN:SAID] = 2
    for number in range(MOST):
        v[number, SEEN + number] = 1
        out[SAID + number, number] = 1


def write_die(path: Path, faces: Sequence[str]) -> tuple[int, ...]:
    """Writes the model and returns the tokens of its faces, which differ in nothing but their number."""
    write_tiny_model(path, width=WIDTH, merges=_MERGES, planted=faces)
    output, tokens = _tensors(path)["output.weight"], _tokens(faces)
    for token in tokens:
        output[token] = 0  # a sum with one term is the same in whatever order it is made
        output[token, 0] = 12
    return tokens


def _tokens(words: Sequence[str]) -> tuple[int, ...]:
    vocabulary = tv.build(_MERGES, [word.encode() for word in words], REASONING, None)
    return tuple(vocabulary.id(word.encode()) for word in words)


def _tensors(path: Path) -> dict[str, Weights]:
    """The unquantised tensors of a file, to be written to in place, one row for each output."""
    with path.open("rb") as file:
        gguf = read_header(lambda offset, count: (file.seek(offset), file.read(count))[1], path.stat().st_size)
    kinds = {"F32": "<f4", "F16": "<f2"}
    return {
        one.name: np.memmap(path, kinds[one.type.name], "r+", gguf.data_offset + one.offset, one.shape[::-1])
        for one in gguf.tensors
        if one.type.name in kinds
    }
