"""The first state of a publisher's six roles, and the one way to sign them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Role, Root, Snapshot, Targets, Timestamp  # type: ignore[attr-defined]

from ..sealed.signatures import SigningKey
from . import layout
from .keys import CompositeKey, CompositeSigner

Public = Mapping[str, Sequence[CompositeKey]]


def first_metadata(name: str, public: Public, thresholds: Mapping[str, int]) -> dict[str, Any]:
    """The signed parts of all six roles of the publisher ``name``, before anything was listed or signed."""
    roles = {role: Role([key.keyid for key in public[role]], thresholds[role]) for role in layout.TOP_LEVEL}
    delegated = {role: _delegation(role, public, thresholds) for role in layout.DELEGATED}
    return {
        layout.ROOT: Root(keys=_by_id(public, roles), roles=roles, unrecognized_fields={"publisher": name}),
        layout.TIMESTAMP: Timestamp(),
        layout.SNAPSHOT: Snapshot(meta={}),
        layout.TARGETS: Targets(delegations=Delegations(_by_id(public, delegated), delegated)),
        **{role: Targets() for role in layout.DELEGATED},
    }


def sealed(signed: Any, keys: Iterable[SigningKey]) -> bytes:
    """The file of a role: ``signed`` with one signature of each key."""
    metadata: Metadata[Any] = Metadata(signed)
    for key in keys:
        metadata.sign(CompositeSigner(key), append=True)
    return metadata.to_bytes()


def _delegation(role: str, public: Public, thresholds: Mapping[str, int]) -> DelegatedRole:
    keyids = [key.keyid for key in public[role]]
    return DelegatedRole(role, keyids, thresholds[role], terminating=True, paths=[layout.pattern(role)])


def _by_id(public: Public, roles: Iterable[str]) -> dict[str, Any]:
    return {key.keyid: key for role in roles for key in public[role]}
