"""A process that embeds as it is told, line by line, for a test that searches its memory meanwhile.

``python -m tests.engine.embed_probe MODEL`` reads ``begin SEED`` (the first of a text's two steps), ``embed SEED`` (all
of it), ``cancel``, ``forget`` and ``rest``, and prints a line after each.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import llama_cpp.llama_cpp as lib

from lumen_box.engine.embedder import Embedder
from lumen_box.engine.embedding import Embedding
from lumen_box.engine.llama import Model
from lumen_box.engine.pooling import PoolingContext, PoolingSize
from lumen_box.engine.protocol import Embed
from tests.engine.bench import load, prompt

LENGTH = 100
SIZE = PoolingSize(256, 64, 1, lib.LLAMA_POOLING_TYPE_LAST, True, lib.LLAMA_FLASH_ATTN_TYPE_DISABLED)


def needles(model: Model, seed: int) -> Iterator[bytes]:
    """Pieces of the KV state that the first step of this text leaves."""
    context = PoolingContext(model, SIZE)
    assert context.run([(0, 0, prompt(seed, LENGTH)[:64])]) == 0
    size = lib.llama_state_seq_get_size(context.handle, 0)
    state = (ctypes.c_uint8 * size)()
    assert lib.llama_state_seq_get_data(context.handle, state, size, 0) == size
    for place in (size // 3, size // 2):
        yield bytes(state)[place : place + 48]
    context.close()


def main() -> None:
    embedder = Embedder(PoolingContext(load(Path(sys.argv[1])), SIZE))
    print("ready", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["begin" | "embed" as how, seed]:
                text = prompt(int(seed), LENGTH)
                embedder.add(Embedding(Embed((text,), id=1), [list(text)]))
                embedder.step()
                while embedder and how == "embed":
                    embedder.step()
            case ["cancel"]:
                embedder.cancel(1)
            case ["forget"]:
                embedder.forget("nurse")
            case ["rest"]:
                while (left := embedder.tidy()) is not None:
                    time.sleep(left)
        print("done", flush=True)


if __name__ == "__main__":
    main()
