"""Fingerprints: 256 bits, shown whole, as words to be read aloud and as hex to be pasted; never a prefix.

A fingerprint is the SHA-256 of a label and the parts, each preceded by its length. In words, bytes at even places
come from one list and bytes at odd places from another: words that are swapped, dropped or said twice no longer
alternate, and are noticed.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from ..errors import UsageError
from .encoding import fields
from .words import EVEN, ODD

SIZE = 32
_AGAIN = "Read the whole fingerprint again: 32 words, or 64 hexadecimal digits."


@dataclass(frozen=True)
class Fingerprint:
    """32 bytes; equal fingerprints mean equal things."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != SIZE:
            raise ValueError("a fingerprint has 32 bytes")

    @classmethod
    def of(cls, label: str, *parts: bytes | str) -> Fingerprint:
        """SHA-256 over the length-prefixed ``label`` and ``parts``."""
        return cls(hashlib.sha256(fields(label, *parts)).digest())

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        """Hex or words in any case, with any blanks, hyphens or colons between; ``UsageError`` names what is wrong."""
        tokens = re.split(r"[\s:,_-]+", text.strip(" \t\r\n:,_-").casefold())
        digits = "".join(tokens)
        if re.fullmatch(r"[0-9a-f]{64}", digits):
            return cls(bytes.fromhex(digits))
        if re.fullmatch(r"[0-9a-f]*[0-9][0-9a-f]*", digits):
            raise UsageError(f"The fingerprint has {len(digits)} hexadecimal digits instead of 64.", then=_AGAIN)
        return cls(_from_words(tokens))

    @property
    def hex(self) -> str:
        return self.raw.hex()

    @property
    def words(self) -> str:
        """32 words with a space between."""
        return " ".join((ODD if place % 2 else EVEN)[byte] for place, byte in enumerate(self.raw))

    def __str__(self) -> str:
        return self.hex


def _from_words(tokens: list[str]) -> bytes:
    raw = bytearray()
    for place, word in enumerate(tokens[:SIZE]):
        here, other = (ODD, EVEN) if place % 2 else (EVEN, ODD)
        if word in other:
            raise UsageError(
                f"Word {place + 1} of the fingerprint, {word!r}, is out of place: a word is missing or swapped.",
                then=_AGAIN,
            )
        if word not in here:
            raise UsageError(f"Word {place + 1} of the fingerprint, {word[:40]!r}, is not in the list.", then=_AGAIN)
        raw.append(here.index(word))
    if len(tokens) != SIZE:
        raise UsageError(f"The fingerprint has {len(tokens)} words instead of {SIZE}.", then=_AGAIN)
    return bytes(raw)
