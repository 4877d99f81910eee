"""What this release is: its version, and the moment it was built, before which it cannot be."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from . import __version__

VERSION: Final = __version__
BUILT: Final = datetime(2026, 11, 23, tzinfo=UTC)
