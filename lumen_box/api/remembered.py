"""Whose text the engines may still keep, so that it can be wiped the moment a token is over.

An engine keeps what it read of an answer, to read a conversation's next turn faster, and for the same owner alone. When
a token is revoked or expires nobody can ask for it any more; it is patient data all the same and goes at once, not when
the engine needs the room. Only owners who asked within ``KEPT_SECONDS`` are watched: nothing is kept for longer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .principal import Principal

KEPT_SECONDS: Final = 900.0  # longer than any engine keeps what nobody asks for
LOOK_SECONDS: Final = 5.0  # between two looks at one token that nothing runs under


class Remembered:
    """Token owners by their credential; ``forget`` tells the engines, ``still_valid`` asks about a credential."""

    def __init__(self, still_valid: Callable[[str], bool], forget: Callable[[str], None]) -> None:
        self._still_valid, self._forget = still_valid, forget
        self._owners: dict[str, tuple[str, float]] = {}
        self._due = 0.0

    def note(self, owner: Principal, now: float) -> None:
        """``owner`` asks something now."""
        if owner.kind == "token":
            self._owners[owner.credential] = (owner.id, now)

    def end_of(self, whom: str) -> None:
        """Access by this credential, or of this owner, is over: what the engines keep of it is wiped."""
        for credential, (owner, _) in list(self._owners.items()):
            if whom in (credential, owner):
                del self._owners[credential]
                self._forget(owner)

    def look(self, now: float) -> None:
        """Finds tokens that have expired, and lets go of those that have been silent for long enough."""
        if now < self._due:
            return
        self._due = now + LOOK_SECONDS
        for credential, (owner, asked) in list(self._owners.items()):
            if not self._still_valid(credential):
                self.end_of(owner)
            elif now - asked > KEPT_SECONDS:
                del self._owners[credential]
