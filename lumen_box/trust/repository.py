"""The publisher's side: builds, advances and signs the metadata of one publisher. Pure: files in, files out.

Rules that make a box accept the result:

- Versions only grow. Every ``publish`` issues a new timestamp, and a new version of whatever changed or runs out soon.
- The root's versions are all kept; of the other roles only the newest file is.
- A new root is signed by the old root keys and by the new ones.
- Replacing the keys of *any* role issues a new root, also for the delegated roles: a box resets a role's floor only
  where a newer root comes with other keys, and this is the way out after somebody signed version 2,147,483,647.
- What is returned has been accepted by the box's own code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tuf.api.metadata import Metadata, MetaFile, Root, Signed, TargetFile, Targets  # type: ignore[attr-defined]

from ..clock import stamp
from ..errors import Damaged, UsageError
from ..sealed.signatures import SigningKey
from . import layout
from .issue import first_metadata, sealed
from .keys import CompositeKey, register
from .layout import DELEGATED, REVOCATIONS, ROLES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from .publisher_id import publisher_id
from .revocations import Revocations
from .session import accept
from .verify import checked

Keys = Mapping[str, Sequence[SigningKey]]


def generate_keys(roles: Iterable[str] = ROLES) -> dict[str, list[SigningKey]]:
    """One new key for each role."""
    return {role: [SigningKey.generate()] for role in roles}


@dataclass(frozen=True)
class Published:
    """``metadata``: the whole content of ``metadata/`` by file name. ``revocations``: the bytes of that target."""

    metadata: dict[str, bytes]
    revocations: bytes


class Repository:
    """One publisher's metadata with the keys to sign it. Nothing is signed before :meth:`publish`."""

    def __init__(self, signed: dict[str, Any], keys: Keys, revocations: bytes) -> None:
        self._signed = signed
        self._keys = {role: list(keys[role]) for role in ROLES}
        self._root_signers = list(self._keys[ROOT])
        self._revocations = revocations
        self._issued: dict[str, int] = {}
        self._files: dict[str, bytes] = {}
        self._changed: set[str] = set()

    @classmethod
    def create(cls, name: str, keys: Keys, now: datetime, *, thresholds: Mapping[str, int] | None = None) -> Repository:
        """A new publisher with ``keys`` for all six roles; thresholds are 1 unless told. The first root is signed."""
        register()
        public = {role: [CompositeKey(key.public) for key in keys[role]] for role in ROLES}
        least = {role: (thresholds or {}).get(role, 1) for role in ROLES}
        for role in ROLES:
            if not 1 <= least[role] <= len({key.keyid for key in public[role]}):
                raise UsageError(f"The role {role} needs {least[role]} signatures and has too few keys for them.")
        self = cls(first_metadata(name, public, least), keys, Revocations().to_bytes())
        self._list(REVOCATIONS, self._revocations)
        self._changed = set(ROLES)
        self._issue(ROOT, now)
        return self

    @classmethod
    def load(cls, metadata: Mapping[str, bytes], revocations: bytes, keys: Keys) -> Repository:
        """What :meth:`publish` returned, with the keys in force. ``Damaged`` if a file is missing or unsound."""
        register()
        newest = _newest(metadata)
        if missing := set(ROLES) - set(newest):
            raise Damaged(f"The publisher's metadata lacks the role {min(missing)}.", then="Restore it from a backup.")
        signed = {}
        for role, (version, name) in newest.items():
            checked(role, metadata[name], version=version or None)
            signed[role] = Metadata.from_bytes(metadata[name]).signed
        self = cls(signed, keys, revocations)
        self._files = dict(metadata)
        self._issued = {role: item.version for role, item in signed.items()}
        return self

    @property
    def name(self) -> str:
        return str(self._signed[ROOT].unrecognized_fields["publisher"])

    @property
    def publisher_id(self) -> str:
        return publisher_id(self._files["1.root.json"])

    @property
    def root(self) -> bytes:
        """The newest root that was signed: what boxes pin."""
        return self._files[layout.metadata_name(ROOT, self._issued[ROOT])]

    @property
    def targets(self) -> dict[str, str]:
        """SHA-256, in hex, of every target by its path."""
        listed = (self._signed[role].targets for role in (TARGETS, *DELEGATED))
        return {path: file.hashes["sha256"] for targets in listed for path, file in targets.items()}

    @property
    def revocations(self) -> Revocations:
        return Revocations.parse(self._revocations)

    def put(self, path: str, data: bytes) -> None:
        """List ``data`` as ``models/<name>/<version>.json`` or ``software/…``; ``Damaged`` for any other path."""
        if layout.TargetPath.parse(path).role == TARGETS:
            raise UsageError(f"{REVOCATIONS} is changed by revoking.")
        self._list(path, data)

    def revoke(self, revocations: Revocations) -> None:
        """Replace the list of revocations."""
        self._revocations = revocations.to_bytes()
        self._list(REVOCATIONS, self._revocations)

    def rotate(self, role: str, keys: Sequence[SigningKey], *, threshold: int | None = None) -> None:
        """Give ``role`` these keys instead of those it has."""
        delegator: Root | Targets = self._signed[TARGETS if role in DELEGATED else ROOT]
        entry = delegator.get_delegated_role(role)
        least = entry.threshold if threshold is None else threshold
        if not 1 <= least <= len({key.public.raw for key in keys}):
            raise UsageError(f"The role {role} needs {least} signatures and would have too few keys for them.")
        for keyid in list(entry.keyids):
            delegator.revoke_key(keyid, role)
        for key in keys:
            delegator.add_key(CompositeKey(key.public), role)
        entry.threshold = least
        self._keys[role] = list(keys)
        self._changed |= {ROOT, role} | ({TARGETS} if role in DELEGATED else set())

    def publish(self, now: datetime) -> Published:
        """Sign what changed or runs out soon, and a new timestamp. The same object can be changed and published again.

        Write ``timestamp.json`` last: until then a reader still finds the export before. After an error this object is
        of no more use; load it again.
        """
        due = {role for role in ROLES if self._is_due(role, now)}
        if ROOT in due:
            self._issue(ROOT, now)
        listed = [role for role in (*DELEGATED, TARGETS) if role in due]
        for role in listed:
            self._issue(role, now)
        if listed or SNAPSHOT in due:
            self._refer(SNAPSHOT, (TARGETS, *DELEGATED))
            self._issue(SNAPSHOT, now)
        self._refer(TIMESTAMP, (SNAPSHOT,))
        self._signed[TIMESTAMP].unrecognized_fields["signed_at"] = stamp(now)
        self._issue(TIMESTAMP, now)
        self._prove(now)
        return Published(dict(self._files), self._revocations)

    def _prove(self, now: datetime) -> None:
        """Read everything as a box would that pinned the first root; a wrong key is noticed here, not at the box."""
        first = self._files[layout.metadata_name(ROOT, 1)]
        accept(
            pinned_root=first,
            known={},
            fetch=self._files.get,
            fetch_target=lambda path, digest: self._revocations,
            now=now,
        )

    def _list(self, path: str, data: bytes) -> None:
        role = layout.TargetPath.parse(path).role
        self._signed[role].targets[path] = TargetFile.from_data(path, data, ["sha256"])
        self._changed.add(role)

    def _is_due(self, role: str, now: datetime) -> bool:
        left = self._signed[role].expires - now
        return role in self._changed or role not in self._issued or left < layout.RENEW_BELOW[role]

    def _refer(self, role: str, others: Iterable[str]) -> None:
        """Write version, length and hash of the other roles' newest files into ``role``."""
        for other in others:
            version = self._issued[other]
            file = MetaFile.from_data(version, self._files[layout.metadata_name(other, version)], ["sha256"])
            if role == TIMESTAMP:
                self._signed[role].snapshot_meta = file
            else:
                self._signed[role].meta[f"{other}.json"] = file

    def _issue(self, role: str, now: datetime) -> None:
        """Sign the next version of ``role``; of all roles but the root the file before is dropped."""
        signed: Signed = self._signed[role]
        before = self._issued.get(role, 0)
        signed.version = before + 1
        signed.expires = now + layout.LIFETIME[role]
        if role == ROOT and before == 1:
            signed.unrecognized_fields["publisher_id"] = self.publisher_id
        data = sealed(signed, self._signers(role))
        checked(role, data, version=signed.version)
        if role != ROOT:
            self._files.pop(layout.metadata_name(role, before), None)
        else:
            self._root_signers = list(self._keys[ROOT])
        self._files[layout.metadata_name(role, signed.version)] = data
        self._issued[role] = signed.version
        self._changed.discard(role)

    def _signers(self, role: str) -> list[SigningKey]:
        """The keys in force; for a root also those of the root before."""
        keys = self._keys[role] + (self._root_signers if role == ROOT else [])
        return list({key.public.raw: key for key in keys}.values())


def _newest(metadata: Mapping[str, bytes]) -> dict[str, tuple[int, str]]:
    """Version and name of the newest file of each role."""
    newest: dict[str, tuple[int, str]] = {}
    for name in metadata:
        role, version = layout.parse_metadata_name(name)
        newest[role] = max(newest.get(role, (0, "")), (version, name))
    return newest
