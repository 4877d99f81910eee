"""Every cap on what a GGUF header may ask for, checked before anything is allocated.

Each is several times what the largest published models need (a quarter of a million tokens, half a million merges,
thirty thousand tensors, sixteen megabytes of header).
"""

from __future__ import annotations

from dataclasses import dataclass

MiB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    header_bytes: int = 64 * MiB
    keys: int = 4096
    key_bytes: int = 1024
    string_bytes: int = 4 * MiB
    elements: int = 4 * MiB
    """Of all arrays of a file together."""
    tensors: int = 65_536
    name_bytes: int = 63
    """llama.cpp keeps a tensor's name in 64 bytes, the last of them NUL."""
    dimensions: int = 4
    alignment: int = 65_536


MAX_BLOCKS = 512
"""Layers; llama.cpp stops the process above this."""
MAX_EXPERTS = 1024
"""The same for the experts of a layer."""
MAX_TOKEN_BYTES = 4096
"""Of a token's text: tokenizers recurse over its letters."""
MAX_LENGTH = 2**31 - 1
"""Of a context or an embedding: llama.cpp counts in 32 signed bits."""
MAX_SPLITS = 9999
"""Files of one model."""
