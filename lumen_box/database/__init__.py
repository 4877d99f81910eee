"""The box's one SQLite database: what can be rebuilt, and what needs no secret to read."""

from .connection import open_database

__all__ = ["open_database"]
