"""Envelopes: one secret wrapped by another with AES-256-GCM, bound to what it is.

    wrapped = nonce (12, random) ‖ ciphertext ‖ tag (16)
    AAD     = length-prefixed "lumen-box/envelope/v1", purpose, id, version (8 bytes), generation (8 bytes)

A wrapped secret cannot be moved to another purpose or id, nor brought back as an older version or under an older key
generation: its associated data would no longer be right.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..errors import Damaged
from .encoding import fields, integer

KEY = 32
NONCE = 12
OVERHEAD = NONCE + 16
AAD_LABEL = "lumen-box/envelope/v1"


@dataclass(frozen=True)
class Label:
    """What a wrapped secret is: all four must be the same when it is opened."""

    purpose: str
    id: str
    version: int
    generation: int

    def associated_data(self) -> bytes:
        return fields(AAD_LABEL, self.purpose, self.id, integer(self.version), integer(self.generation))


def new_key() -> bytes:
    """A fresh wrapping key."""
    return secrets.token_bytes(KEY)


def wrap(key: bytes, secret: bytes, label: Label) -> bytes:
    """``secret`` under ``key``, bound to ``label``; 28 bytes longer than the secret."""
    nonce = secrets.token_bytes(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, secret, label.associated_data())


def unwrap(key: bytes, wrapped: bytes, label: Label) -> bytes:
    """The secret; ``Damaged`` if the bytes, the key or any part of the label is not what it was."""
    try:
        if len(wrapped) < OVERHEAD:
            raise InvalidTag
        return AESGCM(key).decrypt(wrapped[:NONCE], wrapped[NONCE:], label.associated_data())
    except InvalidTag:
        raise Damaged(
            f"The wrapped key {label.purpose}/{label.id[:80]} cannot be opened: it is not the right one."
        ) from None
