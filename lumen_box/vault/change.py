"""What one change of the vault puts and deletes, before any of it is done."""

from __future__ import annotations

import re
from collections.abc import Set

from ..errors import NotFound
from .keyring import MAX_ID, MAX_PURPOSE, MAX_SECRET, Name
from .rotation import SLOT

RESERVED = frozenset({SLOT, "keyring"})
_PURPOSE = re.compile(rf"[a-z][a-z0-9-]{{0,{MAX_PURPOSE - 1}}}")
_ID = re.compile(rf"[!-~]{{1,{MAX_ID}}}")


def missing(purpose: str, id: str) -> NotFound:
    return NotFound(f"The vault holds no {purpose} key {id[:80]!r}.")


class Change:
    """Collects what is wanted; :meth:`Vault.change` makes it so when its block ends."""

    def __init__(self, present: Set[Name]) -> None:
        self._present = present
        self.wanted: dict[Name, bytes | None] = {}  # None: to be deleted

    def put(self, purpose: str, id: str, secret: bytes) -> None:
        """Adds a secret, or replaces the one of that purpose and id. At most 4 MiB; ``ValueError`` beyond the caps."""
        if not _PURPOSE.fullmatch(purpose) or purpose in RESERVED:
            raise ValueError(f"{purpose!r} is not a purpose")
        if not _ID.fullmatch(id) or len(secret) > MAX_SECRET:
            raise ValueError(f"the id or the secret of a {purpose} key is outside of what is allowed")
        self.wanted[purpose, id] = bytes(secret)

    def delete(self, purpose: str, id: str) -> None:
        """Destroys a secret; ``NotFound`` if there is none."""
        name = (purpose, id)
        there = self.wanted[name] is not None if name in self.wanted else name in self._present
        if not there or purpose in RESERVED:
            raise missing(purpose, id)
        self.wanted[name] = None
