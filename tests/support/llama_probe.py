"""Loads GGUF files in llama.cpp, each in a process of its own, and says how that ended.

``python -m tests.support.llama_probe FILE…`` prints one line a file: ``loaded``, ``refused``, or ``died N`` with the
signal. A file counts as loaded once its vocabulary was read, every byte was tokenized alone and in a sentence, and
every token of that was turned back into text.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

SENTENCES = [bytes([byte]) for byte in range(1, 256)] + ["Ab a\tb\n é 你 🎉 <|end|>".encode() * 3, bytes(range(256))]
SECONDS = 20


def probe(path: Path) -> int:
    """0 if the vocabulary works, 1 if llama.cpp refuses the file; dies where llama.cpp does."""
    import llama_cpp as ll

    ll.llama_backend_init()
    params = ll.llama_model_default_params()
    params.vocab_only = True
    model = ll.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        return 1
    vocabulary = ll.llama_model_get_vocab(model)
    tokens, piece = (ll.llama_token * 4096)(), ctypes.create_string_buffer(8192)
    for sentence in SENTENCES:
        for special in (True, False):
            count = ll.llama_tokenize(vocabulary, sentence, len(sentence), tokens, 4096, special, special)
            for token in filter(lambda token: token >= 0, tokens[: max(count, 0)]):
                ll.llama_token_to_piece(vocabulary, token, piece, len(piece), 0, True)
    return 0


def apart(path: Path) -> str:
    """The outcome of :func:`probe` in a child process, silent and with a time limit."""
    pid = os.fork()
    if not pid:
        signal.alarm(SECONDS)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os._exit(probe(path))
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return f"died {os.WTERMSIG(status)}"
    return "refused" if os.WEXITSTATUS(status) else "loaded"


if __name__ == "__main__":
    __import__("llama_cpp")  # once, before the children part
    for name in sys.argv[1:]:
        print(apart(Path(name)), flush=True)
