"""Roles, target paths and lifetimes: the one TUF layout that Lumen Box knows.

    root ─┬─ timestamp          metadata/timestamp.json
          ├─ snapshot           metadata/<version>.snapshot.json
          └─ targets            revocations.json, and nothing else
               ├─ models        models/<name>/<version>.json      terminating
               └─ software      software/<name>/<version>.json    terminating

There are exactly these six roles. Snapshots are consistent: every file but the timestamp has its version in its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from ..errors import Damaged
from .limits import MAX_NAME

ROOT, TIMESTAMP, SNAPSHOT, TARGETS = "root", "timestamp", "snapshot", "targets"
MODELS, SOFTWARE = "models", "software"
TOP_LEVEL = (ROOT, TIMESTAMP, SNAPSHOT, TARGETS)
DELEGATED = (MODELS, SOFTWARE)
ROLES = (*TOP_LEVEL, *DELEGATED)

REVOCATIONS = "revocations.json"
NAME = r"[a-z0-9][a-z0-9._-]*"

# The publisher signs on a machine that may be visited once a year.
LIFETIME = {role: timedelta(days=400) for role in ROLES} | {ROOT: timedelta(days=3 * 365 + 1)}
# Signed anew with the next export once less than this is left.
RENEW_BELOW = {role: timedelta(days=300) for role in ROLES} | {ROOT: timedelta(days=365)}

# What `publisher rotate` replaces together: a fast-forwarded timestamp would hold back a new snapshot, and so on.
ROTATION_GROUPS = {
    "root": (ROOT,),
    "targets": (TARGETS, SNAPSHOT, TIMESTAMP),
    "models": (MODELS,),
    "software": (SOFTWARE,),
}


def pattern(role: str) -> str:
    """The TUF path pattern that is delegated to ``models`` or ``software``."""
    return f"{role}/*/*.json"


def metadata_name(role: str, version: int) -> str:
    """The file's name within ``metadata/``."""
    return f"{role}.json" if role == TIMESTAMP else f"{version}.{role}.json"


def parse_metadata_name(name: str) -> tuple[str, int]:
    """Role and version of a file within ``metadata/``, version 0 for the timestamp; ``Damaged`` for other names."""
    if name == metadata_name(TIMESTAMP, 0):
        return TIMESTAMP, 0
    if found := re.fullmatch(r"([1-9][0-9]{0,9})\.([a-z]+)\.json", name):
        role = found[2]
        if role in ROLES and role != TIMESTAMP:
            return role, int(found[1])
    raise Damaged(f"There is no metadata file with the name {name[:80]!r}.", kept="Nothing was changed.")


def is_name(text: str) -> bool:
    """Whether ``text`` may name a model, a piece of software or a version of one."""
    return len(text) <= MAX_NAME and ".." not in text and re.fullmatch(NAME, text) is not None


@dataclass(frozen=True)
class TargetPath:
    """A path below ``targets/``; ``role`` is the one role that may list it."""

    role: str
    name: str
    version: str

    @classmethod
    def parse(cls, path: str) -> TargetPath:
        """``Damaged`` for everything that no role may list: ``..``, other case, too deep, control characters."""
        if path == REVOCATIONS:
            return cls(TARGETS, "", "")
        parts = path.split("/")
        if len(parts) == 3 and parts[0] in DELEGATED and parts[2].endswith(".json"):
            found = cls(parts[0], parts[1], parts[2].removesuffix(".json"))
            if is_name(found.name) and is_name(found.version):
                return found
        raise Damaged(
            f"A target has a path that cannot be: {path[:80]!r}.",
            kept="Nothing was changed.",
            then="Fetch the data again from its publisher.",
        )

    def __str__(self) -> str:
        return REVOCATIONS if self.role == TARGETS else f"{self.role}/{self.name}/{self.version}.json"
