"""Hybrid signatures: the draft's vectors, and that each half alone is not enough."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lumen_box.errors import Damaged, Untrusted
from lumen_box.sealed.signatures import PUBLIC_KEY, SIGNATURE, SigningKey, VerifyingKey
from tests.support import vectors

KEY = SigningKey.from_seed(bytes(range(64)))
OTHER = SigningKey.from_seed(bytes(64))
MESSAGE, CONTEXT = b"message", b"lumen-box/test/v1"
MLDSA = 3309


def test_the_drafts_vectors_verify() -> None:
    vector = {name: bytes.fromhex(value) for name, value in vectors.load("signatures").items() if name != "source"}
    key = SigningKey.from_seed(vector["seed"])
    assert key.public.raw == vector["public"]
    key.public.verify(vector["signature"], vector["message"])
    key.public.verify(vector["signature_with_context"], vector["message"], vector["context"])
    with pytest.raises(Untrusted):
        key.public.verify(vector["signature_with_context"], vector["message"])


def flip(place: int) -> Callable[[bytes], bytes]:
    return lambda signature: signature[:place] + bytes([signature[place] ^ 1]) + signature[place + 1 :]


BAD: dict[str, Callable[[bytes], bytes]] = {
    "flip in the ML-DSA half": flip(0),
    "flip at the end of the ML-DSA half": flip(MLDSA - 1),
    "flip in the Ed25519 half": flip(MLDSA),
    "flip at the end": flip(SIGNATURE - 1),
    "ML-DSA half alone": lambda s: s[:MLDSA],
    "Ed25519 half alone": lambda s: s[MLDSA:],
    "ML-DSA half of nought": lambda s: bytes(MLDSA) + s[MLDSA:],
    "Ed25519 half of nought": lambda s: s[:MLDSA] + bytes(64),
    "ML-DSA half of another key": lambda s: OTHER.sign(MESSAGE, CONTEXT)[:MLDSA] + s[MLDSA:],
    "Ed25519 half of another key": lambda s: s[:MLDSA] + OTHER.sign(MESSAGE, CONTEXT)[MLDSA:],
    "halves swapped": lambda s: s[MLDSA:] + s[:MLDSA],
    "a byte more": lambda s: s + b"\0",
    "empty": lambda s: b"",
}


@pytest.mark.parametrize("touch", BAD.values(), ids=BAD.keys())
def test_both_halves_must_hold(touch: Callable[[bytes], bytes]) -> None:
    signature = KEY.sign(MESSAGE, CONTEXT)
    KEY.public.verify(signature, MESSAGE, CONTEXT)
    with pytest.raises(Untrusted):
        KEY.public.verify(touch(signature), MESSAGE, CONTEXT)


@pytest.mark.parametrize(
    ("key", "message", "context"),
    [(OTHER, MESSAGE, CONTEXT), (KEY, b"massage", CONTEXT), (KEY, MESSAGE, b""), (KEY, MESSAGE, CONTEXT + b"1")],
)
def test_key_message_and_context_are_bound(key: SigningKey, message: bytes, context: bytes) -> None:
    with pytest.raises(Untrusted):
        key.public.verify(KEY.sign(MESSAGE, CONTEXT), message, context)


def test_a_context_cannot_lend_bytes_to_the_message_or_be_too_long() -> None:
    with pytest.raises(ValueError, match="255"):
        KEY.sign(MESSAGE, bytes(256))
    KEY.public.verify(KEY.sign(MESSAGE, bytes(255)), MESSAGE, bytes(255))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        KEY.public.raw[:-1],
        KEY.public.raw + b"\0",
        KEY.public.raw[:-32] + b"\xff" * 32,
        KEY.public.raw[:-32] + (2**255 - 19).to_bytes(32, "little"),
    ],
    ids=["empty", "short", "long", "not a field element", "a second spelling of nought"],
)
def test_a_public_key_has_one_spelling(raw: bytes) -> None:
    with pytest.raises(Damaged):
        VerifyingKey.from_bytes(raw)


def test_keys_come_back_from_their_bytes() -> None:
    key = SigningKey.generate()
    assert key.seed != SigningKey.generate().seed
    again = VerifyingKey.from_bytes(key.public.raw)
    assert again == key.public and again.fingerprint == key.public.fingerprint and len(again.raw) == PUBLIC_KEY
    assert again.fingerprint != KEY.public.fingerprint
    SigningKey.from_seed(key.seed).public.verify(key.sign(MESSAGE), MESSAGE)
    assert key.seed.hex() not in repr(key)
    with pytest.raises(Damaged):
        SigningKey.from_seed(key.seed[1:])
