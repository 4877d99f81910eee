"""One injective way to put several fields into one byte string.

Each field is preceded by its length as four bytes, big-endian. Whatever is hashed, bound as associated data or given
to HPKE as ``info`` is built this way, so that no field can lend bytes to its neighbour.
"""

from __future__ import annotations


def fields(*parts: bytes | str) -> bytes:
    """``len(p) ‖ p`` for every part in order; text is taken as ASCII."""
    raw = [part.encode("ascii") if isinstance(part, str) else part for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in raw)


def integer(value: int) -> bytes:
    """A non-negative integer as eight bytes, big-endian."""
    return value.to_bytes(8, "big")
