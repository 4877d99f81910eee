"""What the tests of the vault share: cheap slots and a small vault."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from lumen_box.clock import Clock
from lumen_box.sealed.passphrase import Cost
from lumen_box.vault.recovery import write_code
from lumen_box.vault.slots import KeyFile, Passphrase, Recovery, Unlock
from lumen_box.vault.vault import Vault

CHEAP = Cost(1, 64, 1)
CLOCK = Clock(now=lambda: datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC))
WORD, FILE, CODE = Passphrase(b"a passphrase"), KeyFile(b"k" * 64), Recovery(write_code(b"r" * 25))
ALL: list[tuple[str, Unlock]] = [("by heart", WORD), ("usb stick", FILE), ("printed", CODE)]
SECRETS = {("identity", "1"): b"i" * 64, ("content", "ab" * 16): b"c" * 32, ("floors", "pub"): b'{"root":3}'}


def create(folder: Path) -> Vault:
    """A vault with a slot of each kind, three secrets, and sequence 2."""
    vault = Vault.create(folder, ALL, cost=CHEAP, clock=CLOCK)
    with vault.change() as change:
        for (purpose, name), secret in SECRETS.items():
            change.put(purpose, name, secret)
    return vault


def contents(vault: Vault) -> dict[tuple[str, str], bytes]:
    purposes = ("identity", "content", "floors", "audit")
    return {(purpose, name): vault.get(purpose, name) for purpose in purposes for name in vault.ids(purpose)}


def rechecked(data: bytes) -> bytes:
    """The same bytes with a checksum that is right again: what somebody would write who knows the format."""
    return data[:-32] + hashlib.sha256(data[:-32]).digest()
