"""API tokens: shown once, kept only as a hash, with scopes, an expiry and the time of their last use.

A token is ``lb_<id>_<secret>``: 64 random bits that name it and 256 that prove it. The secret is as strong as a key,
so its plain SHA-256 is enough to keep.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlite_utils import Database

from ..clock import Clock, parse_stamp, stamp
from ..database.connection import in_our_words
from ..errors import NotFound, Unauthenticated, UsageError

SCOPES = frozenset({"chat", "embeddings", "isolated", "models", "metrics"})  # what a token can be good for
PREFIX = "lb_"
LONGEST_LIFE = timedelta(days=400)
LONGEST = 128  # characters of what a stranger may send as a token
_FORM = re.compile(r"lb_[0-9a-f]{16}_[0-9A-Za-z_-]{43}")


@dataclass(frozen=True)
class Token:
    """A token as it is listed: everything but the secret."""

    id: str
    name: str
    scopes: frozenset[str]
    created_at: str
    expires_at: str | None
    last_used: str | None
    revoked: bool


class Tokens:
    """The tokens of this box."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._table = database.table("tokens")
        self._clock = clock

    def create(self, name: str, scopes: Iterable[str], created_by: str, life: timedelta) -> tuple[Token, str]:
        """A new token and, this once, its text."""
        wanted = frozenset(scopes)
        if not wanted or not wanted <= SCOPES:
            raise UsageError(f"A token's scopes are among: {', '.join(sorted(SCOPES))}.")
        if not timedelta(0) < life <= LONGEST_LIFE:
            raise UsageError(f"A token lives at least a moment and at most {LONGEST_LIFE.days} days.")
        if not re.fullmatch(r"[^\x00-\x1f\x7f]{1,64}", name):
            raise UsageError("A token's name has 1 to 64 characters and no control characters.")
        identity = secrets.token_hex(8)
        text = f"{PREFIX}{identity}_{secrets.token_urlsafe(32)}"
        now = self._clock.now()
        row = {
            "id": identity,
            "digest": _digest(text),
            "name": name,
            "scopes": " ".join(sorted(wanted)),
            "created_at": stamp(now),
            "created_by": created_by,
            "expires_at": stamp(now + life),
        }
        with in_our_words():
            self._table.insert(row)
        return self._get(identity), text

    def listing(self) -> list[Token]:
        return [_token(row) for row in self._table.rows_where(order_by="created_at")]

    def revoke(self, identity: str) -> Token:
        """Ends a token for good. The gateway ends its streams."""
        token = self._get(identity)
        if not token.revoked:
            with in_our_words():
                self._table.update(identity, {"revoked_at": stamp(self._clock.now())})
        return self._get(identity)

    def authenticate(self, text: str) -> Token:
        """The token that ``text`` is; ``Unauthenticated`` if it is none, expired or revoked: the words are the same."""
        rows: list[dict[str, str | None]] = []
        if len(text) <= LONGEST and _FORM.fullmatch(text):
            rows = list(self._table.rows_where("digest = ?", [_digest(text)]))
        if not rows or not self._valid(rows[0]):
            raise Unauthenticated(
                "This token is not known here, has expired or was revoked.",
                then="Ask the administrator of the box for a new one.",
            )
        today = stamp(self._clock.now())
        if (rows[0]["last_used"] or "")[:13] != today[:13]:  # to the hour: one write an hour is enough to know
            with contextlib.suppress(sqlite3.Error):  # a full disk keeps nobody from asking
                self._table.update(str(rows[0]["id"]), {"last_used": today})
        return _token(rows[0])

    def still_valid(self, identity: str) -> bool:
        """Whether the token may go on being used: asked again while its streams run."""
        rows = list(self._table.rows_where("id = ?", [identity]))
        return bool(rows) and self._valid(rows[0])

    def _valid(self, row: dict[str, str | None]) -> bool:
        return row["revoked_at"] is None and self._clock.now() < _moment(row["expires_at"])

    def _get(self, identity: str) -> Token:
        rows = list(self._table.rows_where("id = ?", [identity]))
        if not rows:
            raise NotFound(f"There is no token {identity[:40]}.", then="`lumen-box token list` shows them all.")
        return _token(rows[0])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _moment(text: str | None) -> datetime:
    return parse_stamp(text or "1970-01-01T00:00:00Z")


def _token(row: dict[str, str | None]) -> Token:
    return Token(
        id=str(row["id"]),
        name=str(row["name"]),
        scopes=frozenset(str(row["scopes"]).split()),
        created_at=str(row["created_at"]),
        expires_at=row["expires_at"],
        last_used=row["last_used"],
        revoked=row["revoked_at"] is not None,
    )
