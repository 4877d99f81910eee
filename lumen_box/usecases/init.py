"""Making a box: its keys, its slots, its first lines of audit. Interrupted, it can simply be run again."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from ..atomic import Disk, remove
from ..audit import AuditLog, Event
from ..audit.log import BOX
from ..clock import Clock, stamp
from ..paths import Home
from ..sealed.fingerprint import Fingerprint
from ..sealed.passphrase import Cost
from ..sealed.recipient import RecipientKey
from ..sealed.signatures import SigningKey
from ..vault.recovery import new_recovery_code
from ..vault.slots import KeyFile, Passphrase, Recovery, Unlock
from ..vault.vault import Vault
from .home import Identity, prepare, write_identity
from .purposes import AUDIT, IDENTITY, RECIPIENT


@dataclass(frozen=True)
class NewBox:
    """What the person at the keyboard must see once."""

    identity: Identity
    fingerprint: Fingerprint
    recovery_code: str


def create(
    home: Home,
    passphrase: bytes,
    *,
    name: str,
    key_file: bytes | None = None,
    cost: Cost | None = None,
    clock: Clock | None = None,
    disk: Disk | None = None,
) -> NewBox:
    """A new box in ``home``, with a passphrase slot, a printed recovery code and, if given, a key-file slot.

    Raises ``UsageError`` where something is in the way, ``NoSpace`` where there is no room.
    """
    clock, disk = clock or Clock(), disk or Disk()
    lock = prepare(home, disk)
    try:
        return _create(home, passphrase, name, key_file, cost or Cost(), clock, disk)
    finally:
        lock.release()


def _create(
    home: Home, passphrase: bytes, name: str, key_file: bytes | None, cost: Cost, clock: Clock, disk: Disk
) -> NewBox:
    for left in (*home.vault.iterdir(), *home.audit.iterdir()):  # of an interrupted init: never used by anybody
        remove(disk, left)
    recovery = new_recovery_code()
    slots: list[tuple[str, Unlock]] = [("passphrase", Passphrase(passphrase)), ("recovery", Recovery(recovery))]
    if key_file is not None:
        slots.append(("key file", KeyFile(key_file)))
    identity_key = SigningKey.generate()
    fingerprint = identity_key.public.fingerprint
    vault = Vault.create(home.vault, slots, disk=disk, clock=clock, cost=cost)
    try:
        with vault.change() as change:
            change.put(IDENTITY, "box", identity_key.seed)
            change.put(RECIPIENT, "1", RecipientKey.generate().seed)
            change.put(AUDIT, "1", SigningKey.generate().seed)
        identity = Identity(box_id=fingerprint.hex, name=name, created=stamp(clock.now()))
        with contextlib.closing(AuditLog(home.audit, disk=disk, clock=clock)) as audit:
            audit.record(Event.BOX_CREATED, BOX, box=identity.box_id)
            audit.record(Event.KEYRING_CHANGED, BOX, sequence=vault.sequence, generation=vault.generation)
    finally:
        vault.close()
    write_identity(home, identity, disk)
    return NewBox(identity, fingerprint, recovery)
