"""How RWKV spells the bytes of a token: ``\\t``, ``\\n``, ``\\r``, ``\\xNN``, a backslash before any other letter."""

from __future__ import annotations

import re

from .model import quoted, unsound

_PART = re.compile(rb"\\x([0-9a-f]{2})|\\([^x])|([^\\]+)", re.DOTALL)
_SHORT = {b"t": b"\t", b"n": b"\n", b"r": b"\r"}


def spelled_out(token: str) -> bytes:
    """The bytes of a token; ``Damaged`` where an escape is cut short or not hexadecimal."""
    raw = token.encode()
    out, at = [], 0
    while at < len(raw):
        part = _PART.match(raw, at)
        if part is None:
            raise unsound(f"the token {quoted(token)} has a broken escape")
        code, letter, plain = part.groups()
        out.append(bytes([int(code, 16)]) if code else _SHORT.get(letter, letter) if letter else plain)
        at = part.end()
    return b"".join(out)
