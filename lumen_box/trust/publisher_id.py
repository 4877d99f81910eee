"""Who a publisher is: a root that was pinned by its fingerprint, and the id that stays the same for ever.

The fingerprint of a root is the SHA-256, with the label ``lumen-box/root/v1``, of the canonical JSON of its signed
part. The publisher id is the fingerprint of the *first* root, in hex. Later roots carry it as the signed field
``publisher_id``, so that the newest root can be pinned, by people who never saw the first.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from securesystemslib.formats import encode_canonical
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root  # type: ignore[attr-defined]

from ..errors import Untrusted
from ..sealed.fingerprint import Fingerprint
from .keys import register
from .layout import ROOT
from .verify import checked

LABEL = "lumen-box/root/v1"


@dataclass(frozen=True)
class PinnedRoot:
    """A root that is sound in itself: well formed, and signed by its own keys. Whether to trust it is for people."""

    publisher_id: str
    name: str
    version: int
    fingerprint: Fingerprint


def canonical(signed: dict[str, Any]) -> bytes:
    """The bytes that TUF signs."""
    return (encode_canonical(signed) or "").encode()


def publisher_id(root: bytes) -> str:
    """64 hex digits, the same for every root of a publisher. A claim: only a chain of roots makes it more."""
    return _id(checked(ROOT, root))


def read_root(root: bytes) -> PinnedRoot:
    """What a root says about itself; ``Untrusted`` if it is not signed by its own keys."""
    signed = checked(ROOT, root)
    register()
    try:
        metadata: Metadata[Root] = Metadata.from_bytes(root)
        metadata.signed.verify_delegate(ROOT, metadata.signed_bytes, metadata.signatures)
    except RepositoryError as error:
        raise Untrusted(
            "The root is not signed by its own keys.",
            kept="Nothing was pinned.",
            then="Fetch the root again from its publisher.",
        ) from error
    return PinnedRoot(_id(signed), signed["publisher"], signed["version"], _fingerprint(signed))


def short_name(name: str) -> str:
    """The publisher's part in ``publisher/name``: ``Demo publisher`` becomes ``demo-publisher``."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:64].rstrip("-") or "publisher"


def _id(signed: dict[str, Any]) -> str:
    return str(signed["publisher_id"]) if signed["version"] > 1 else _fingerprint(signed).hex


def _fingerprint(signed: dict[str, Any]) -> Fingerprint:
    return Fingerprint.of(LABEL, canonical(signed))
