"""Keys from keys, and tags over fields: HKDF with SHA-512 (RFC 5869) and HMAC with SHA-256 (RFC 2104)."""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

KEY = 32
TAG = 32


def expand(key: bytes, label: str) -> bytes:
    """A 32-byte key for the purpose ``label`` from a uniformly random ``key``."""
    return HKDFExpand(SHA512(), KEY, label.encode("ascii")).derive(key)


def extract(secret: bytes, salt: bytes, label: str) -> bytes:
    """A 32-byte key from a ``secret`` that is hard to guess but need not be uniform."""
    return HKDF(SHA512(), KEY, salt, label.encode("ascii")).derive(secret)


def tag(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256, 32 bytes."""
    return hmac.digest(key, data, hashlib.sha256)


def same(one: bytes, other: bytes) -> bool:
    """Equality in constant time."""
    return hmac.compare_digest(one, other)
