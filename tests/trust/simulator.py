"""A publisher whose keys the test holds, its media in memory, and a box that remembers.

``Medium`` is what a stick would hold. ``Publisher.forged`` changes the signed part of one role on a copy of a medium
and signs it again with the keys of that role (or with any others), and then everything above it, so that a test can
say exactly one untrue thing and have it signed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from lumen_box.sealed.signatures import SigningKey
from lumen_box.trust import layout
from lumen_box.trust.accepted import Accepted
from lumen_box.trust.floors import Floors, raised
from lumen_box.trust.keys import CONTEXT
from lumen_box.trust.publisher_id import canonical
from lumen_box.trust.repository import Published, Repository, generate_keys
from lumen_box.trust.session import accept

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
ABOVE = {"models": ["snapshot", "timestamp"], "software": ["snapshot", "timestamp"]} | {
    "targets": ["snapshot", "timestamp"],
    "snapshot": ["timestamp"],
    "timestamp": [],
    "root": [],
}
Edit = Callable[[dict[str, Any]], object]


@cache
def key(name: str) -> SigningKey:
    """Always the same key for the same name."""
    return SigningKey.from_seed(hashlib.sha512(name.encode()).digest())


def keys(*names: str) -> list[SigningKey]:
    return [key(name) for name in names]


def signature(signed: dict[str, Any], signer: SigningKey) -> dict[str, str]:
    return {"keyid": signer.public.fingerprint.hex, "sig": signer.sign(canonical(signed), CONTEXT).hex()}


def sealed(signed: dict[str, Any], signers: Iterable[SigningKey]) -> bytes:
    return json.dumps({"signatures": [signature(signed, signer) for signer in signers], "signed": signed}).encode()


@dataclass(repr=False)
class Medium:
    metadata: dict[str, bytes]
    revocations: bytes

    @classmethod
    def of(cls, published: Published) -> Medium:
        return cls(dict(published.metadata), published.revocations)

    def copy(self) -> Medium:
        return Medium(dict(self.metadata), self.revocations)

    def name(self, role: str) -> str:
        """The newest file of a role."""
        names = [name for name in self.metadata if layout.parse_metadata_name(name)[0] == role]
        return max(names, key=lambda name: layout.parse_metadata_name(name)[1])

    def file(self, role: str) -> bytes:
        return self.metadata[self.name(role)]

    def signed(self, role: str) -> dict[str, Any]:
        found = json.loads(self.file(role))["signed"]
        assert isinstance(found, dict)
        return found


@dataclass(repr=False)
class Publisher:
    """``moment`` is the publisher's clock."""

    moment: datetime = NOW
    keys: dict[str, list[SigningKey]] = field(default_factory=lambda: {role: keys(role) for role in layout.ROLES})
    thresholds: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.repository = Repository.create("Demo publisher", self.keys, self.moment, thresholds=self.thresholds)
        self.first_root = self.repository.root

    def export(self, *names: str, after: timedelta = timedelta(0)) -> Medium:
        """Publish models (``clinical/1.0.0``), and take the result to a medium."""
        self.moment += after
        for name in names:
            self.repository.put(f"models/{name}.json", name.encode())
        return Medium.of(self.repository.publish(self.moment))

    def rotate(self, *roles: str) -> None:
        for role in roles:
            self.keys[role] = generate_keys([role])[role]
            self.repository.rotate(role, self.keys[role])

    def forged(self, medium: Medium, role: str, edit: Edit, *, signers: Iterable[SigningKey] | None = None) -> Medium:
        """``medium`` with the signed part of ``role`` changed, signed by ``signers`` or by the role's keys."""
        signed = medium.signed(role)
        edit(signed)
        data = sealed(signed, self.keys[role] if signers is None else signers)
        return self.replaced(medium, role, data, name=_name(role, signed))

    def replaced(self, medium: Medium, role: str, data: bytes, *, name: str | None = None) -> Medium:
        """``medium`` with other bytes for ``role``, to which snapshot and timestamp refer as they should."""
        copy = medium.copy()
        if role != "root":
            del copy.metadata[copy.name(role)]
        name = name or medium.name(role)
        copy.metadata[name] = data
        for above in ABOVE[role][:1]:
            copy = self.forged(copy, above, lambda signed: signed["meta"].update(_entry(role, name, data, medium)))
        return copy

    def next_root(self, medium: Medium, edit: Edit = lambda signed: None, *, signers: Any = None) -> Medium:
        """``medium`` with one more root, signed by the root keys unless told otherwise."""

        def next_version(signed: dict[str, Any]) -> None:
            signed["version"] += 1
            signed["publisher_id"] = self.repository.publisher_id
            edit(signed)

        return self.forged(medium, "root", next_version, signers=signers)


def _name(role: str, signed: dict[str, Any]) -> str:
    return layout.metadata_name(role, signed.get("version", 0))


def _entry(role: str, name: str, data: bytes, medium: Medium) -> dict[str, Any]:
    version = layout.parse_metadata_name(name)[1] if name[0].isdigit() else medium.signed(role)["version"]
    return {f"{role}.json": _meta(data, version)}


def _meta(data: bytes, version: int) -> dict[str, Any]:
    return {"version": version, "length": len(data), "hashes": {"sha256": hashlib.sha256(data).hexdigest()}}


@dataclass(repr=False)
class Box:
    """What a box keeps of one publisher: the pinned root, the metadata of the last time, and the floors."""

    pinned: bytes
    known: dict[str, bytes] = field(default_factory=dict)
    floors: Floors = field(default_factory=Floors)
    now: datetime = NOW

    def read(self, medium: Medium, *, allow_expired: bool = False) -> Accepted:
        """Accept, and remember nothing."""
        return accept(
            pinned_root=self.pinned,
            known=self.known,
            fetch=medium.metadata.get,
            fetch_target=lambda path, digest: medium.revocations,
            now=self.now,
            floors=self.floors,
            allow_expired=allow_expired,
        )

    def install(self, medium: Medium) -> Accepted:
        """Accept, and remember."""
        accepted = self.read(medium)
        self.known, self.floors = dict(accepted.files), raised(self.floors, accepted.observed)
        return accepted
