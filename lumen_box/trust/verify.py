"""Refuses metadata before TUF parses it: strict JSON, the six roles, their fields, key ids, and who may list what.

TUF's own parser takes duplicate keys, floats, fields that it does not know, and the word of a file for which key has
which id. So the bytes are read here first, by one rule: a field is known, of its type, within its cap and in its one
spelling, or the file is refused. What has the wrong form is ``Damaged``, what is of a kind that this version does not
know is ``TooNew``, and what a role has no right to say is ``Untrusted``.

Signatures are not verified here; :mod:`.session` hands the very same bytes to TUF, and compares what it understood.
"""

from __future__ import annotations

from typing import Any

from .. import strictjson
from ..errors import Damaged, TooNew
from ..strictjson import Fields
from .keys import KEY_ID
from .layout import DELEGATED, TARGETS
from .limits import MAX_BYTES, MAX_SIGNATURES, MAX_VERSION
from .parts import AGAIN, KEPT, PARTS, moment
from .refusals import said_in_full

SPECIFICATION = "1.0."


def checked(role: str, data: bytes, *, version: int | None = None) -> dict[str, Any]:
    """The signed part of ``data``, the metadata of ``role``, as TUF will see it.

    ``version`` is the one that the file's name promises. Raises ``Damaged``, ``TooNew`` or ``Untrusted``.
    """
    with said_in_full():
        return _checked(role, data, version)


def _checked(role: str, data: bytes, version: int | None) -> dict[str, Any]:
    what = f"The {role} metadata"
    if b"\0" in data:  # a parser that guesses encodings would read UTF-16 here, and TUF would not
        raise Damaged(f"{what} holds a zero byte.", kept=KEPT, then=AGAIN)
    envelope = Fields(strictjson.loads(data, what=what, max_bytes=MAX_BYTES[role]), what)
    _signatures(envelope.take("signatures", list), role)
    signed = envelope.take("signed", dict)
    envelope.end()
    _signed(Fields(signed, what), role)
    if version is not None and signed["version"] != version:
        raise Damaged(
            f"{what} has version {signed['version']} under the name of version {version}.",
            kept=KEPT,
            then=AGAIN,
        )
    return signed


def _signatures(entries: list[Any], role: str) -> None:
    seen: set[str] = set()
    for entry in entries[:MAX_SIGNATURES]:
        fields = Fields(entry, f"A signature of the {role} metadata")
        seen.add(fields.text("keyid", pattern=KEY_ID))
        # The length is left to the key: a signature without one of its halves is a bad one, not a malformed one.
        fields.text("sig", pattern=r"(?:[0-9a-f]{2})*", longest=16384)
        fields.end()
    if len(seen) != len(entries):
        raise Damaged(
            f"The {role} metadata has two signatures with one key id, or more than {MAX_SIGNATURES}.",
            kept=KEPT,
            then=AGAIN,
        )


def _signed(fields: Fields, role: str) -> None:
    kind = fields.text("_type")
    if kind != (TARGETS if role in DELEGATED else role):
        raise Damaged(f"{fields.what} is of the type {kind[:40]!r}.", kept=KEPT, then=AGAIN)
    if not fields.text("spec_version", pattern=r"[0-9]{1,4}(?:\.[0-9]{1,4}){2}").startswith(SPECIFICATION):
        raise TooNew(
            f"{fields.what} follows a TUF specification that this version does not know.",
            kept=KEPT,
            then="Update Lumen Box first, then try again.",
        )
    version = fields.number("version", least=1, most=MAX_VERSION)
    moment(fields, "expires")
    PARTS[role](fields, version)
    fields.end()
