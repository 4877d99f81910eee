"""The content key of an object for one box: the files under ``recipients/``.

A file is JSON, ``{"format": 1, "suite": …, "sealed": hex}``, and is not signed. Anybody can seal something to a
box's public key, so what comes out is believed only if it fits the commitment in the stream's header, which the
signed hash of segment 0 covers.
"""

from __future__ import annotations

from ..errors import Damaged, NotForThisBox
from ..sealed import recipient
from ..sealed.recipient import RecipientKey, RecipientPublic, recipient_info
from ..sealed.stream import HEADER, KEY, fits, object_context
from ..strictjson import Fields, dumps, loads
from . import limits
from .forms import hexadecimal, known_format
from .manifest import StoredObject

FORMAT = 1


def seal_content_key(content_key: bytes, object_id: str, box_id: str, key: RecipientPublic) -> bytes:
    """The file for the box ``box_id``, whose recipient key is ``key``."""
    info = recipient_info(recipient.SUITE, bytes.fromhex(object_id), box_id, key.raw)
    sealed = key.seal(content_key, info)
    return dumps({"format": FORMAT, "suite": recipient.SUITE, "sealed": sealed.hex()}) + b"\n"


def open_content_key(data: bytes | None, stored: StoredObject, box_id: str, key: RecipientKey, header: bytes) -> bytes:
    """The content key of ``stored`` (32 bytes).

    Args:
        data: the recipient file, or None where the medium has none for this key.
        stored: the object, from the signed manifest.
        box_id: of this box, 64 hexadecimal digits.
        key: this box's private recipient key.
        header: the first 56 bytes, or more, of the object's segment 0, whose hash has been verified.

    Raises:
        NotForThisBox: there is no file, or it was sealed to another box, key or object.
        Damaged: the file is malformed, or what is in it is not the object's key.
        TooNew: an unknown format or suite.
    """
    if data is None:
        raise NotForThisBox(
            "The medium holds no key for this box.",
            kept="Nothing was changed.",
            then="Give the box's current enrolment to the publisher and have the medium exported again.",
        )
    content_key = key.open(_sealed(data), recipient_info(recipient.SUITE, stored.raw_id, box_id, key.public.raw))
    if len(content_key) != KEY or not fits(content_key, object_context(stored.raw_id), header[:HEADER]):
        raise Damaged(
            f"The key on the medium does not fit the object {stored.id}: it was not made by its publisher.",
            kept="Nothing was changed.",
            then="Ask the publisher for a new medium.",
        )
    return content_key


def _sealed(data: bytes) -> bytes:
    what = "The recipient file"
    fields = Fields(loads(data, what=what, max_bytes=limits.MAX_RECIPIENT), what)
    known_format(fields, FORMAT)
    fields.one_of("suite", [recipient.SUITE])
    sealed = hexadecimal(fields, "sealed", recipient.OVERHEAD + KEY)
    fields.end()
    return sealed
