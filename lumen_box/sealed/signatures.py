"""Hybrid signatures: composite ML-DSA-65 with Ed25519 and a SHA-512 pre-hash; both halves must hold.

Follows draft-ietf-lamps-pq-composite-sigs, algorithm id-MLDSA65-Ed25519-SHA512, and its vectors:

    M' = "CompositeAlgorithmSignatures2025" ‖ label ‖ len(context) ‖ context ‖ SHA-512(message)
    signature = ML-DSA-65.Sign(M', ctx = label) (3309) ‖ Ed25519.Sign(M') (64)
    public key = ML-DSA-65 (1952) ‖ Ed25519 (32);   secret key = ML-DSA-65 seed (32) ‖ Ed25519 seed (32)

The context keeps one purpose's signatures from serving another. There is one spelling of every public key, so that a
key cannot appear under two fingerprints.
"""

from __future__ import annotations

import hashlib
import secrets

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

from ..errors import Damaged, Untrusted
from .fingerprint import Fingerprint

SUITE = "mldsa65-ed25519-sha512"
SEED = 64
PUBLIC_KEY = 1952 + 32
SIGNATURE = 3309 + 64
MAX_CONTEXT = 255
FINGERPRINT_LABEL = "lumen-box/signing-key/v1"

_PREFIX = b"CompositeAlgorithmSignatures2025"
_LABEL = b"COMPSIG-MLDSA65-Ed25519-SHA512"
_MLDSA_SEED, _MLDSA_PUBLIC, _MLDSA_SIGNATURE = 32, 1952, 3309
_FIELD_PRIME = 2**255 - 19


def _representative(message: bytes, context: bytes) -> bytes:
    if len(context) > MAX_CONTEXT:
        raise ValueError("a signing context has at most 255 bytes")
    return _PREFIX + _LABEL + bytes([len(context)]) + context + hashlib.sha512(message).digest()


class VerifyingKey:
    """The public half. Two keys are equal if their bytes are."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) != PUBLIC_KEY:
            raise Damaged(f"A public signing key has {len(raw)} bytes instead of {PUBLIC_KEY}.")
        point = int.from_bytes(raw[_MLDSA_PUBLIC:], "little") & (2**255 - 1)
        if point >= _FIELD_PRIME:
            raise Damaged("A public signing key is not written in its one proper form.")
        self.raw = bytes(raw)
        self._mldsa = MLDSA65PublicKey.from_public_bytes(self.raw[:_MLDSA_PUBLIC])
        self._ed25519 = Ed25519PublicKey.from_public_bytes(self.raw[_MLDSA_PUBLIC:])

    @classmethod
    def from_bytes(cls, raw: bytes) -> VerifyingKey:
        """``Damaged`` if these are not the bytes of a key."""
        return cls(raw)

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint.of(FINGERPRINT_LABEL, SUITE, self.raw)

    def verify(self, signature: bytes, message: bytes, context: bytes = b"") -> None:
        """Returns if both halves hold; ``Untrusted`` otherwise, whichever half it was."""
        data = _representative(message, context)
        try:
            if len(signature) != SIGNATURE:
                raise InvalidSignature
            self._mldsa.verify(signature[:_MLDSA_SIGNATURE], data, _LABEL)
            self._ed25519.verify(signature[_MLDSA_SIGNATURE:], data)
        except InvalidSignature:
            raise Untrusted(
                "A signature does not hold.",
                kept="Nothing was changed.",
                then="Fetch the data again from whoever signed it.",
            ) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerifyingKey) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)


class SigningKey:
    """The secret half; its seed is all that is ever stored."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED:
            raise Damaged(f"A signing key has {len(seed)} bytes instead of {SEED}.")
        self.seed = bytes(seed)
        self._mldsa = MLDSA65PrivateKey.from_seed_bytes(self.seed[:_MLDSA_SEED])
        self._ed25519 = Ed25519PrivateKey.from_private_bytes(self.seed[_MLDSA_SEED:])

    @classmethod
    def generate(cls) -> SigningKey:
        return cls(secrets.token_bytes(SEED))

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """``Damaged`` if the seed does not have 64 bytes."""
        return cls(seed)

    @property
    def public(self) -> VerifyingKey:
        return VerifyingKey(self._mldsa.public_key().public_bytes_raw() + self._ed25519.public_key().public_bytes_raw())

    def sign(self, message: bytes, context: bytes = b"") -> bytes:
        """3373 bytes over ``message``, good only under ``context`` (at most 255 bytes)."""
        data = _representative(message, context)
        return self._mldsa.sign(data, _LABEL) + self._ed25519.sign(data)
