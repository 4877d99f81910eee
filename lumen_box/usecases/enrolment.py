"""The box's enrolment: what a publisher needs to encrypt for this box, signed by the box's identity."""

from __future__ import annotations

from dataclasses import dataclass

from ..audit import Event
from ..bundle.enrolment import Enrolment
from ..sealed.fingerprint import Fingerprint
from ..sealed.recipient import RecipientKey
from ..sealed.signatures import SigningKey
from .box import Box
from .purposes import AUDIT, IDENTITY, RECIPIENT


@dataclass(frozen=True)
class Exported:
    """``data`` is the file to carry to the publisher, ``fingerprint`` what to read aloud to them."""

    data: bytes
    fingerprint: Fingerprint
    sequence: int


def export(box: Box, actor: str) -> Exported:
    """The enrolment with the newest recipient key. Needs the vault."""
    sequence = max(map(int, box.vault.ids(RECIPIENT)))
    generation = max(map(int, box.vault.ids(AUDIT)))
    identity = SigningKey.from_seed(box.vault.get(IDENTITY, "box"))
    enrolment = Enrolment(
        name=box.identity.name,
        sequence=sequence,
        identity=identity.public,
        audit=SigningKey.from_seed(box.vault.get(AUDIT, str(generation))).public,
        recipient=RecipientKey.from_seed(box.vault.get(RECIPIENT, str(sequence))).public,
    )
    data = enrolment.sign(identity)
    box.audit.record(Event.ENROLMENT_EXPORTED, actor, sequence=sequence)
    return Exported(data, enrolment.fingerprint, sequence)
