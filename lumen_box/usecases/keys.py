"""The keys of a box: which there are, and a new key-encryption key (KEK) in the place of the old one.

Rotating wraps every key anew and rewrites no object. The vault does it in the order write new → prove that it opens
everything → switch → destroy old; here the log gets the intent, the outcome and the new number of the keyring. What
was interrupted is, after the next start, either as before or as changed, and the log then says which number holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..audit import AuditLog, Event
from ..sealed.recipient import RecipientKey
from ..sealed.signatures import SigningKey
from ..vault.vault import Vault
from .box import Box
from .purposes import AUDIT, CONTENT, IDENTITY, RECIPIENT

KEK = "kek"


@dataclass(frozen=True)
class Key:
    """One key, without anything secret.

    Args:
        purpose: ``kek``, or the vault's purpose.
        id: the vault's id; of a content key the object's.
        fingerprint: 64 hexadecimal digits of the public half; None for a key that has none.
        generation: 1 for the first of its kind, one more for each in its place; None where none takes its place.
        created: RFC 3339, as the audit log tells it; None where the log does not.
        protects: what is lost with it, or open to whoever has it.
    """

    purpose: str
    id: str
    fingerprint: str | None
    generation: int | None
    created: str | None
    protects: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Rotated:
    """The KEK's new generation, how many secrets it wraps, and how many slots open it."""

    generation: int
    secrets: int
    slots: int


def listing(box: Box) -> list[Key]:
    """Every key, the KEK first; ``Sealed`` without the vault."""
    vault, times = box.vault, _Times(box.audit)
    kek = Key(KEK, KEK, None, vault.generation, times.of_generation(vault.generation), "every other key of this box")
    return [kek, *_signing(vault, times), *_recipients(vault, times), *_contents(box, times)]


def rotate_kek(box: Box, actor: str) -> Rotated:
    """A new KEK; every slot opens the box as before.

    Raises ``Sealed``, ``Locked``, ``NoSpace``, ``Damaged``.
    """
    with box.administration():
        vault = box.vault
        with box.audit.act(Event.KEK_ROTATED, actor, generation=vault.generation) as learned:
            try:
                with box.rewriting(actor):
                    wrapped = vault.rotate_kek()
            finally:  # it may have failed after the switch: the log says what holds
                learned["generation"] = vault.header.generation
        return Rotated(vault.header.generation, wrapped, len(vault.header.slots))


class _Times:
    """When keys were made: the log has the time of every number of the keyring, and of every generation of the KEK."""

    def __init__(self, audit: AuditLog) -> None:
        changes = [(entry.detail, entry.time) for entry in audit.entries() if entry.event == Event.KEYRING_CHANGED]
        self._changes = [(detail.get("sequence"), detail.get("generation"), time) for detail, time in changes]

    def of_version(self, version: int) -> str | None:
        """A change that was interrupted before it was recorded is known by the next number."""
        return next((time for number, _, time in self._changes if isinstance(number, int) and number >= version), None)

    def of_generation(self, generation: int) -> str | None:
        return next((time for _, number, time in self._changes if number == generation), None)


def _signing(vault: Vault, times: _Times) -> Iterator[Key]:
    for purpose, protects in ((IDENTITY, "signs this box's enrolments"), (AUDIT, "signs the audit log's checkpoints")):
        for id in vault.ids(purpose):
            fingerprint = SigningKey.from_seed(vault.get(purpose, id)).public.fingerprint.hex
            made = times.of_version(vault.version(purpose, id))
            yield Key(purpose, id, fingerprint, _number(id), made, protects)


def _recipients(vault: Vault, times: _Times) -> Iterator[Key]:
    for id in vault.ids(RECIPIENT):
        fingerprint = RecipientKey.from_seed(vault.get(RECIPIENT, id)).public.key_id
        made = times.of_version(vault.version(RECIPIENT, id))
        yield Key(RECIPIENT, id, fingerprint, _number(id), made, "content keys on media for this box")


def _contents(box: Box, times: _Times) -> Iterator[Key]:
    models: dict[str, list[str]] = {}
    for entry in box.catalogue.installed():
        models.setdefault(entry.object, []).append(f"{entry.name}@{entry.version}")
    for id in box.vault.ids(CONTENT):
        protects = ", ".join(models.get(id, ["an install that is not finished"]))
        yield Key(CONTENT, id, None, None, times.of_version(box.vault.version(CONTENT, id)), protects)


def _number(id: str) -> int:
    return int(id) if id.isdigit() else 1
