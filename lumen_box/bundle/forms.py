"""The forms that the small files of this package share: texts for people, and the ``format`` that each file names."""

from __future__ import annotations

from ..errors import TooNew
from ..strictjson import Fields

# One line of text: no control character, no surrogate, nothing invisible, nothing that turns the direction.
LINE = r"(?!$)[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]*"
TEXT = r"[^\x00\ud800-\udfff]*"


def known_format(fields: Fields, known: int) -> None:
    """``TooNew`` unless the member ``format`` is ``known``; read first, since all else depends on it."""
    if fields.number("format", least=1) != known:
        raise TooNew(
            f"{fields.what} has a format that this version does not know.",
            kept="Nothing was changed.",
            then="Update Lumen Box first, then try again.",
        )


def hexadecimal(fields: Fields, name: str, size: int) -> bytes:
    """A member of exactly ``size`` bytes, written as lower-case hexadecimal digits."""
    return bytes.fromhex(fields.text(name, pattern=f"[0-9a-f]{{{2 * size}}}", longest=2 * size))
