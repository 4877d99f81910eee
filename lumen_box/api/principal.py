"""Who is asking. Every request has exactly one principal, whatever it came through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["local", "token", "session"]

ADMINISTRATOR, OPERATOR, AUDITOR, ANALYST = "administrator", "operator", "auditor", "analyst"
ROLES = frozenset({ADMINISTRATOR, OPERATOR, AUDITOR, ANALYST})


@dataclass(frozen=True)
class Principal:
    """``id`` is what owns generations and appears in the audit log: ``uid:1000``, ``token:3f…``, later a user's id.

    People and local accounts act by their roles. A token has no roles: its scopes are all it may do. ``credential``
    names what they came with, so that ending it ends what runs under it.
    """

    id: str
    kind: Kind
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    credential: str = ""
