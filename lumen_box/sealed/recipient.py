"""Content keys for one box: HPKE base mode with MLKEM768_X25519, HKDF_SHA384 and AES_256_GCM.

    sealed = encapsulation (1120) ‖ ciphertext (secret + 16)

``info`` binds the suite, the object, the box and the recipient key, so that a sealed key answers for one of each. A
private key is kept as its 32-byte seed, expanded by SHAKE256 into the ML-KEM seed ``d ‖ z`` (64) and the X25519 key
(32); a public key is ML-KEM (1184) followed by X25519 (32).
"""

from __future__ import annotations

import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from ..errors import Damaged, NotForThisBox
from .encoding import fields
from .fingerprint import Fingerprint

SUITE = "mlkem768-x25519-hkdf-sha384-aes256gcm"
SEED = 32
PUBLIC_KEY = 1184 + 32
OVERHEAD = 1120 + 16
MAX_SECRET = 1024
INFO_LABEL = "lumen-box/recipient-info/v1"
KEY_ID_LABEL = "lumen-box/recipient/v1"

_MLKEM_PUBLIC, _MLKEM_SEED = 1184, 64


def _suite() -> Suite:
    return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA384, AEAD.AES_256_GCM)


def recipient_info(suite: str, object_id: bytes, box_id: bytes | str, recipient_key: bytes) -> bytes:
    """HPKE's ``info``: what a sealed content key is for. ``recipient_key`` is the whole public key."""
    return fields(INFO_LABEL, suite, object_id, box_id, recipient_key)


class RecipientPublic:
    """The key that content keys are sealed to."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) != PUBLIC_KEY:
            raise Damaged(f"A recipient key has {len(raw)} bytes instead of {PUBLIC_KEY}.")
        self.raw = bytes(raw)
        try:
            self._key = MLKEM768X25519PublicKey(
                MLKEM768PublicKey.from_public_bytes(self.raw[:_MLKEM_PUBLIC]),
                X25519PublicKey.from_public_bytes(self.raw[_MLKEM_PUBLIC:]),
            )
        except ValueError:
            raise Damaged("A recipient key is not a key of its kind.") from None

    @classmethod
    def from_bytes(cls, raw: bytes) -> RecipientPublic:
        """``Damaged`` if these are not the bytes of a key."""
        return cls(raw)

    @property
    def key_id(self) -> str:
        """64 hexadecimal digits: the name of this key's files on a medium."""
        return Fingerprint.of(KEY_ID_LABEL, self.raw).hex

    def seal(self, secret: bytes, info: bytes) -> bytes:
        """``secret`` for the holder of the private key, and for ``info`` alone."""
        if len(secret) > MAX_SECRET:
            raise ValueError("a sealed secret has at most 1024 bytes")
        try:
            return _suite().encrypt(secret, self._key, info)
        except ValueError:  # the X25519 half is a point of small order, which only an attacker writes
            raise Damaged("Nothing can be sealed to this recipient key.") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecipientPublic) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)


class RecipientKey:
    """A box's private recipient key; its seed is all that is ever stored."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED:
            raise Damaged(f"A private recipient key has {len(seed)} bytes instead of {SEED}.")
        self.seed = bytes(seed)
        material = hashlib.shake_256(self.seed).digest(_MLKEM_SEED + 32)
        self._mlkem = MLKEM768PrivateKey.from_seed_bytes(material[:_MLKEM_SEED])
        self._x25519 = X25519PrivateKey.from_private_bytes(material[_MLKEM_SEED:])

    @classmethod
    def generate(cls) -> RecipientKey:
        return cls(secrets.token_bytes(SEED))

    @classmethod
    def from_seed(cls, seed: bytes) -> RecipientKey:
        """``Damaged`` if the seed does not have 32 bytes."""
        return cls(seed)

    @property
    def public(self) -> RecipientPublic:
        return RecipientPublic(
            self._mlkem.public_key().public_bytes_raw() + self._x25519.public_key().public_bytes_raw()
        )

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """The secret in ``sealed``; ``NotForThisBox`` if it was sealed to another key or for another ``info``."""
        try:
            if not OVERHEAD <= len(sealed) <= OVERHEAD + MAX_SECRET:
                raise InvalidTag
            return _suite().decrypt(sealed, MLKEM768X25519PrivateKey(self._mlkem, self._x25519), info)
        except (InvalidTag, ValueError):
            raise NotForThisBox(
                "The content key on the medium was not made for this box.",
                kept="Nothing was changed.",
                then="Ask the publisher to enrol this box and to export the bundle again.",
            ) from None
