"""The one kind of key in Lumen Box's TUF metadata: a composite of ML-DSA-65 and Ed25519, both halves required.

A TUF threshold is not a hybrid, since two Ed25519 signatures satisfy a threshold of two; so the two halves are one key
and one signature. The key's id is its fingerprint and nothing else, or one key could be counted twice.

    "keyid": {"keytype": "lumen-composite", "scheme": "mldsa65-ed25519-sha512", "keyval": {"public": hex}}

A signature is over the canonical JSON of the signed part, under the context ``lumen-box/tuf/v1``, in hex.
"""

from __future__ import annotations

from typing import Any

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import KEY_FOR_TYPE_AND_SCHEME, Key, SecretsHandler, Signature, Signer  # type: ignore[attr-defined]

from ..errors import Damaged, LumenError, TooNew, Untrusted
from ..sealed.signatures import PUBLIC_KEY, SUITE, SigningKey, VerifyingKey
from ..strictjson import Fields

KEYTYPE = "lumen-composite"
CONTEXT = b"lumen-box/tuf/v1"
KEY_ID = r"[0-9a-f]{64}"


class CompositeKey(Key):
    """A public key in metadata; only ever made from one whose id was found to be its fingerprint."""

    def __init__(self, key: VerifyingKey) -> None:
        super().__init__(key.fingerprint.hex, KEYTYPE, SUITE, {"public": key.raw.hex()})
        self.key = key

    @classmethod
    def from_dict(cls, keyid: str, key_dict: dict[str, Any]) -> CompositeKey:
        """TUF's way in. Raises ``Damaged``, ``TooNew`` for another suite, ``Untrusted`` if the id is not the key's."""
        fields = Fields(key_dict, "A key")
        fields.one_of("keytype", [KEYTYPE])
        fields.one_of("scheme", [SUITE])
        value = Fields(fields.take("keyval", dict), "A key")
        public = value.text("public", pattern=rf"[0-9a-f]{{{2 * PUBLIC_KEY}}}", longest=2 * PUBLIC_KEY)
        value.end()
        fields.end()
        found = cls(_parsed(bytes.fromhex(public)))
        if found.keyid != keyid:
            raise Untrusted(
                "The id of a key is not its fingerprint, so that one key could count as two.",
                kept="Nothing was changed.",
                then="Ask the publisher what was signed.",
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        return self._to_dict()

    def verify_signature(self, signature: Signature, data: bytes) -> None:
        """``UnverifiedSignatureError`` if either half does not hold, or the signature is not one at all."""
        try:
            self.key.verify(bytes.fromhex(signature.signature), data, CONTEXT)
        except (LumenError, ValueError) as error:
            raise UnverifiedSignatureError(f"Failed to verify signature by {self.keyid}") from error


def _parsed(raw: bytes) -> VerifyingKey:
    try:
        return VerifyingKey.from_bytes(raw)
    except ValueError as error:
        raise Damaged("A public signing key is not one.", kept="Nothing was changed.") from error


class CompositeSigner(Signer):
    """Signs TUF metadata with a :class:`SigningKey`."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key
        self._public = CompositeKey(key.public)

    @property
    def public_key(self) -> CompositeKey:
        return self._public

    def sign(self, payload: bytes) -> Signature:
        return Signature(self._public.keyid, self._key.sign(payload, CONTEXT).hex())

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> Signer:
        """Refused: a private key has no address here; it is handed over."""
        raise TooNew("Signing keys are not read from an address.")


def register() -> None:
    """Tell securesystemslib about the key type; done before TUF parses anything, and harmless twice."""
    KEY_FOR_TYPE_AND_SCHEME[(KEYTYPE, SUITE)] = CompositeKey
