"""``GET /v1/models``: what can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelCard:
    """One active model. ``created`` is in seconds since 1970; ``context`` in tokens of one sequence. ``role`` is what
    it is for: ``chat`` or ``embedding``."""

    id: str
    created: int
    owned_by: str
    context: int
    role: str = "chat"

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "model",
            "created": self.created,
            "owned_by": self.owned_by,
            "context_length": self.context,
            "role": self.role,
        }
