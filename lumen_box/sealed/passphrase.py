"""Keys from passphrases: Argon2id (RFC 9106), version 0x13, 32 bytes out.

The cost is stored beside the salt, so that it can be raised for new slots; it is checked against caps before any
memory is taken, because a keyring on a stolen and returned disk may name any number.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from ..errors import Damaged

KEY = 32
SALT = 16
MAX_ITERATIONS = 64
MAX_MEMORY_KIB = 4 * 1024 * 1024
MAX_LANES = 64


@dataclass(frozen=True)
class Cost:
    """Argon2id's passes, memory in KiB, and lanes; ``Damaged`` beyond the caps."""

    iterations: int = 3
    memory_kib: int = 65536
    lanes: int = 4

    def __post_init__(self) -> None:
        right = 1 <= self.iterations <= MAX_ITERATIONS and 1 <= self.lanes <= MAX_LANES
        if not right or not 8 * self.lanes <= self.memory_kib <= MAX_MEMORY_KIB:
            raise Damaged("The cost stored beside a passphrase is outside of what is allowed.")


def new_salt() -> bytes:
    return secrets.token_bytes(SALT)


def derive(passphrase: bytes, salt: bytes, cost: Cost) -> bytes:
    """32 bytes from ``passphrase``; with the default cost this takes 64 MiB and a tenth of a second or so."""
    kdf = Argon2id(salt=salt, length=KEY, iterations=cost.iterations, lanes=cost.lanes, memory_cost=cost.memory_kib)
    return kdf.derive(passphrase)
