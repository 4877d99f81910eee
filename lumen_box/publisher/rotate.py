"""Replacing signing keys. The new ones and what they sign come into force in one step; the old ones are gone then.

Boxes follow without anybody's help: every medium carries all roots, and each is signed by the one before.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import UsageError
from ..sealed.signatures import SigningKey
from ..trust.layout import ROTATION_GROUPS
from .workspace import Workspace


def rotate(workspace: Workspace, group: str) -> tuple[str, ...]:
    """New keys for ``root``, ``targets``, ``models`` or ``software``; returns the roles that have got some."""
    if group not in ROTATION_GROUPS:
        raise UsageError(f"There is no key {group!r} to rotate.", then=f"Rotate one of: {', '.join(ROTATION_GROUPS)}.")
    roles = ROTATION_GROUPS[group]
    repository = workspace.repository()
    keys = dict(workspace.state.keys)
    for role in roles:
        fresh = [SigningKey.generate() for _ in keys[role]]
        repository.rotate(role, fresh)
        keys[role] = tuple(key.seed for key in fresh)
    workspace.publish(repository, state=replace(workspace.state, keys=keys))
    return roles
