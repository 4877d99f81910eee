"""The append-only log of what was done on the box, by whom, and with what outcome. No prompts, no answers."""

from .events import Event
from .log import AuditLog

__all__ = ["AuditLog", "Event"]
