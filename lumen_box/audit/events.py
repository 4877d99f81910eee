"""The events of the log and the one line that each becomes.

A line is strict JSON (see ``strictjson``) with the members

    v        1
    seq      number of the line, from 0: its leaf index
    time     RFC 3339, UTC, whole seconds
    event    one of :class:`Event`
    phase    ``intent`` before an act, ``outcome`` after it, ``event`` for what is over at once
    of       (outcome only) the ``seq`` of the intent
    outcome  (not in an intent) ``done``, ``refused``, ``failed`` or ``unknown``
    actor    random id of a user or token, ``uid:<n>`` for a socket peer, ``token:<id>``, or ``box``
    detail   strings, integers and booleans that say what was acted on

and the leaf is the exact bytes of the line without its line feed (RFC 6962, section 2.1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from .. import strictjson
from ..errors import Damaged

VERSION = 1
MAX_LINE = 8192  # bytes, line feed included: what one append may leave torn

Phase = Literal["intent", "outcome", "event"]
Outcome = Literal["done", "refused", "failed", "unknown"]
Value = str | int | bool


class Event(StrEnum):
    """Everything that the log can say. Names are never reused with another meaning."""

    BOX_CREATED = "box.created"
    GATEWAY_STARTED = "gateway.started"
    GATEWAY_STOPPED = "gateway.stopped"
    UNSEALED = "vault.unsealed"
    SEALED = "vault.sealed"
    KEYRING_CHANGED = "keyring.changed"
    KEYRING_REPAIRED = "keyring.repaired"
    KEK_ROTATED = "kek.rotated"
    SLOT_ADDED = "slot.added"
    SLOT_REMOVED = "slot.removed"
    TRUST_PINNED = "trust.pinned"
    TRUST_UPDATED = "trust.updated"
    EXPIRY_OVERRIDDEN = "trust.expiry_overridden"
    ENROLMENT_EXPORTED = "enrolment.exported"
    MODEL_INSTALLED = "model.installed"
    MODEL_ACTIVATED = "model.activated"
    MODEL_ROLLED_BACK = "model.rolled_back"
    MODEL_REMOVED = "model.removed"
    MODEL_VERIFIED = "model.verified"
    TOKEN_CREATED = "token.created"  # noqa: S105 - the name of an event
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 - the name of an event
    PROMPT_PUBLISHED = "prompt.published"
    PROMPT_WITHDRAWN = "prompt.withdrawn"
    GENERATION = "generation"
    ACCESS_REFUSED = "access.refused"
    LOG_REPAIRED = "log.repaired"


@dataclass(frozen=True)
class Entry:
    """One line, read or about to be written."""

    seq: int
    time: str
    event: str
    phase: Phase
    actor: str
    of: int | None
    outcome: Outcome | None
    detail: Mapping[str, Value]

    def line(self) -> bytes:
        """The exact bytes of the line, without the line feed."""
        members: dict[str, object] = {
            "v": VERSION,
            "seq": self.seq,
            "time": self.time,
            "event": self.event,
            "phase": self.phase,
            "actor": self.actor,
            "detail": dict(self.detail),
        }
        if self.of is not None:
            members["of"] = self.of
        if self.outcome is not None:
            members["outcome"] = self.outcome
        return strictjson.dumps(members)


def parse(line: bytes) -> Entry:
    """The entry in ``line``; ``Damaged`` if the line is not one that this log writes."""
    fields = strictjson.Fields(strictjson.loads(line, what="An audit line", max_bytes=MAX_LINE), "An audit line")
    if fields.number("v") != VERSION:
        raise Damaged("An audit line has another version.")
    phase = fields.one_of("phase", ("intent", "outcome", "event"))
    outcome = fields.one_of("outcome", ("done", "refused", "failed", "unknown")) if phase != "intent" else None
    entry = Entry(
        seq=fields.number("seq"),
        time=fields.text("time"),
        event=fields.text("event"),
        phase=phase,  # type: ignore[arg-type]
        actor=fields.text("actor"),
        of=fields.optional("of", int),
        outcome=outcome,  # type: ignore[arg-type]
        detail=fields.take("detail", dict),
    )
    fields.end()
    return entry


def leaf_hash(line: bytes) -> bytes:
    """SHA-256 of 0x00 and the line: a leaf of the tree of RFC 6962."""
    return hashlib.sha256(b"\x00" + line).digest()


def tree_hash(leaves: list[bytes]) -> bytes:
    """The root over leaf hashes: RFC 6962, section 2.1, ``MTH``."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = leaves
    while len(level) > 1:  # pairing from the left is the same tree as splitting at the largest power of two
        pairs = [hashlib.sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        level = pairs + (level[-1:] if len(level) % 2 else [])
    return level[0]
