"""What people type to name a model: ``[publisher/]name[@version]``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import UsageError

_FORM = re.compile(
    r"(?:(?P<publisher>[a-z0-9][a-z0-9._-]{0,63})/)?"
    r"(?P<name>[a-z0-9][a-z0-9._-]{0,63})"
    r"(?:@(?P<version>[a-z0-9][a-z0-9._-]{0,63}))?"
)


@dataclass(frozen=True)
class ModelName:
    """A name as it was typed; what was left out is None."""

    name: str
    publisher: str | None = None
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Raises ``UsageError`` for anything that cannot be a name."""
        found = _FORM.fullmatch(text)
        if not found or ".." in text:
            raise UsageError(
                f"{text[:80]!r} is not the name of a model.",
                then="Names look like clinical, clinical@1.0.0 or publisher/clinical@1.0.0, in lower case.",
            )
        return cls(**found.groupdict())

    def __str__(self) -> str:
        prefix = f"{self.publisher}/" if self.publisher else ""
        return prefix + self.name + (f"@{self.version}" if self.version else "")
