"""The recovery code: 200 random bits and a checksum, in eleven groups of four to be printed and typed again.

The letters are Crockford's base 32 (no I, L, O, U). Reading forgives case, blanks, hyphens, and the letters that look
like digits; the last group is the first 20 bits of the SHA-256 of the 25 bytes, so that a slip is told from a wrong
code.
"""

from __future__ import annotations

import hashlib
import secrets

from ..errors import WrongKey

SIZE = 25
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LOOKALIKES = str.maketrans("OIL", "011", " -\t\r\n")
_LETTERS = 44


def new_recovery_code() -> str:
    """A fresh code such as ``7K3M-…-Q0RD`` (54 characters)."""
    return write_code(secrets.token_bytes(SIZE))


def write_code(secret: bytes) -> str:
    """The printed form of 25 bytes."""
    number = int.from_bytes(secret, "big") << 20 | _check(secret)
    letters = [_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_LETTERS))]
    return "-".join("".join(letters[start : start + 4]) for start in range(0, _LETTERS, 4))


def read_code(code: str) -> bytes:
    """The 25 bytes; ``WrongKey`` says what is wrong with the code as it was typed."""
    letters = code.upper().translate(_LOOKALIKES)
    strange = next((letter for letter in letters if letter not in _ALPHABET), None)
    if strange is not None:
        raise _misread(f"it holds the character {strange!r}")
    if len(letters) != _LETTERS:
        raise _misread(f"it has {len(letters)} characters instead of {_LETTERS}")
    number = 0
    for letter in letters:
        number = number << 5 | _ALPHABET.index(letter)
    secret = (number >> 20).to_bytes(SIZE, "big")
    if number & 0xFFFFF != _check(secret):
        raise _misread("its last group does not match the others")
    return secret


def _check(secret: bytes) -> int:
    return int.from_bytes(hashlib.sha256(secret).digest()[:3], "big") >> 4


def _misread(why: str) -> WrongKey:
    return WrongKey(
        f"This is not a recovery key as it was printed: {why}.",
        kept="The box stays sealed.",
        then="Compare it with the print, group by group.",
    )
