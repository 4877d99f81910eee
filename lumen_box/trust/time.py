"""What time it is, for a box whose clock anybody with the console can set.

Nobody can sign with a time of the future that has not come, so every accepted ``signed_at`` is a time that has
passed, and so is the moment the running release was built. The wall clock may be ahead of them but not behind. It
is never stored as attested: a clock set forward by mistake does no lasting harm.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime


def trusted_now(wall: datetime, release_build: datetime, accepted_signed_at: Iterable[datetime] = ()) -> datetime:
    """The latest of the wall clock, the release's build and every accepted ``signed_at``; all aware, in UTC."""
    return max(wall, release_build, *accepted_signed_at)
