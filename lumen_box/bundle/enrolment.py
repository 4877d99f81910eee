"""Enrolments: how a box tells a publisher which keys are its own.

A box has one long-lived identity key. Its fingerprint is the box's id and is read aloud once; from then on the
identity signs new enrolments, with a higher sequence number, and nothing needs reading aloud again. The file is a
JSON object ``{"payload": text, "signature": hex}``; what is signed is the payload's bytes, as they stand.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import Untrusted
from ..sealed import recipient, signatures
from ..sealed.fingerprint import Fingerprint
from ..sealed.recipient import RecipientPublic
from ..sealed.signatures import SigningKey, VerifyingKey
from ..strictjson import Fields, dumps, loads
from . import limits
from .forms import LINE, hexadecimal, known_format

FORMAT = 1
CONTEXT = b"lumen-box/enrolment/v1"
WHAT = "The enrolment"


@dataclass(frozen=True)
class Enrolment:
    """A box's keys, as its identity signed them. Two enrolments of one box differ in ``sequence``."""

    name: str
    sequence: int
    identity: VerifyingKey
    audit: VerifyingKey
    recipient: RecipientPublic

    @property
    def fingerprint(self) -> Fingerprint:
        """Of the identity key: what is read aloud."""
        return self.identity.fingerprint

    @property
    def box_id(self) -> str:
        """64 hexadecimal digits; the identity's fingerprint, so that no two boxes can have one id."""
        return self.fingerprint.hex

    def sign(self, identity: SigningKey) -> bytes:
        """The file, signed by the box's identity key."""
        if identity.public != self.identity:
            raise ValueError("an enrolment is signed by the identity that it names")
        payload = dumps(
            {
                "format": FORMAT,
                "name": self.name,
                "sequence": self.sequence,
                "signature_suite": signatures.SUITE,
                "identity": self.identity.raw.hex(),
                "audit": self.audit.raw.hex(),
                "recipient_suite": recipient.SUITE,
                "recipient": self.recipient.raw.hex(),
            }
        )
        return dumps({"payload": payload.decode(), "signature": identity.sign(payload, CONTEXT).hex()}) + b"\n"

    @classmethod
    def parse(cls, data: bytes, expected: Fingerprint | None = None) -> Enrolment:
        """The enrolment in ``data``, its signature checked.

        Args:
            data: the whole file.
            expected: the identity's fingerprint, where it is known; without it the result proves only that whoever
                made the file holds the identity key in it.

        Raises:
            Damaged: malformed. TooNew: an unknown format or suite.
            Untrusted: the signature does not hold, or the identity is not the one expected.
        """
        outer = Fields(loads(data, what=WHAT, max_bytes=limits.MAX_ENROLMENT), WHAT)
        payload = outer.take("payload", str).encode("utf-8", "surrogatepass")  # what is not ASCII is refused below
        signature = hexadecimal(outer, "signature", signatures.SIGNATURE)
        outer.end()
        enrolment = _read(payload)
        if expected is not None and enrolment.fingerprint != expected:
            raise Untrusted(
                f"The fingerprint of the box {enrolment.name!r} is not the one given.",
                kept="Nothing was changed.",
                then="Compare all its words with those that the box shows, read aloud by somebody who stands there.",
            )
        enrolment.identity.verify(signature, payload, CONTEXT)
        return enrolment


def _read(payload: bytes) -> Enrolment:
    fields = Fields(loads(payload, what=WHAT, max_bytes=limits.MAX_ENROLMENT), WHAT)
    known_format(fields, FORMAT)
    fields.one_of("signature_suite", [signatures.SUITE])
    fields.one_of("recipient_suite", [recipient.SUITE])
    enrolment = Enrolment(
        name=fields.text("name", pattern=LINE, longest=limits.MAX_TITLE),
        sequence=fields.number("sequence", least=1, most=limits.MAX_SEQUENCE),
        identity=VerifyingKey.from_bytes(hexadecimal(fields, "identity", signatures.PUBLIC_KEY)),
        audit=VerifyingKey.from_bytes(hexadecimal(fields, "audit", signatures.PUBLIC_KEY)),
        recipient=RecipientPublic.from_bytes(hexadecimal(fields, "recipient", recipient.PUBLIC_KEY)),
    )
    fields.end()
    return enrolment
