"""Accepts the metadata of one medium, or refuses it: TUF's client workflow over bytes, and the floors on top.

    pinned root → every newer root → timestamp → snapshot → targets, models, software → revocations → time → floors

The workflow is python-tuf's own ``TrustedMetadataSet``, the part of its client that decides; see
``docs/decisions/0002-tuf-in-memory.md``. What this module adds:

- Every file goes through :func:`.verify.checked` first, and afterwards TUF must have understood what was checked.
- ``known`` is what was accepted before. It can only make the answer stricter: a known file that is missing, unsound
  or signed by keys since replaced is passed over, and the floors hold without it.
- Nothing is expired before the newest of ``now`` and the timestamp's own ``signed_at``.
- All six roles are always read, so that all six floors are checked.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from tuf.api import exceptions
from tuf.api.metadata import MetaFile, TargetFile, Targets  # type: ignore[attr-defined]
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from ..clock import parse_stamp, stamp
from ..errors import Damaged, LumenError, Untrusted
from . import layout
from .accepted import Accepted, Target
from .floors import Floors, Observed, RoleFloor, check
from .keys import register
from .layout import DELEGATED, REVOCATIONS, ROLES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from .limits import MAX_ROOTS
from .parts import AGAIN, KEPT
from .publisher_id import canonical, publisher_id
from .refusals import expired, in_our_words, signed_twice
from .revocations import Revocations
from .verify import checked

Fetch = Callable[[str], bytes | None]
FetchTarget = Callable[[str, str], bytes | None]
BEFORE_EVERYTHING = datetime.min.replace(tzinfo=UTC)


def accept(
    *,
    pinned_root: bytes,
    known: Mapping[str, bytes],
    fetch: Fetch,
    fetch_target: FetchTarget,
    now: datetime,
    floors: Floors | None = None,
    allow_expired: bool = False,
) -> Accepted:
    """The newest metadata of one publisher from a medium.

    Args:
        pinned_root: the root whose fingerprint was compared.
        known: ``Accepted.files`` of the last time; may be empty or wrong.
        fetch: the bytes of a file in ``metadata/`` of the medium by name, or None if there is no such file.
        fetch_target: the bytes of a target by path and SHA-256 (in hex), or None. Asked for ``revocations.json`` only.
        now: the time as :func:`.time.trusted_now` gives it.
        floors: what this box has seen of the publisher.
        allow_expired: accept expired metadata, and say so in ``Accepted.expired``.

    Raises:
        Untrusted: a signature, key or role is wrong.   Stale, Expired: below a floor, or past its time.
        Damaged: a file is missing, malformed, or not the one that was signed.   TooNew: of a kind not known here.
    """
    session = _Session(pinned_root, known, fetch, BEFORE_EVERYTHING if allow_expired else now)
    session.read_roots()
    session.read_timestamp()
    session.read_snapshot()
    session.read_targets()
    revocations = session.read_revocations(fetch_target)
    accepted = session.result(revocations, now)
    if accepted.expired and not allow_expired:
        raise expired(", ".join(accepted.expired))
    check(floors or Floors(), accepted.observed)
    return accepted


class _Session:
    """One run of the workflow. ``signed`` and ``files`` hold the last accepted signed part and bytes of each name."""

    def __init__(self, pinned_root: bytes, known: Mapping[str, bytes], fetch: Fetch, now: datetime) -> None:
        register()
        self._known, self._fetch = known, fetch
        signed = checked(ROOT, pinned_root)
        with in_our_words(ROOT):
            self._trusted = TrustedMetadataSet(pinned_root, EnvelopeType.METADATA)
        self._trusted.reference_time = now
        self._publisher_id = publisher_id(pinned_root)
        self._signed = {ROOT: signed}
        self._bytes = {ROOT: pinned_root}
        self._roots = {layout.metadata_name(ROOT, signed["version"]): pinned_root}

    def read_roots(self) -> None:
        """Every newer root, each signed by the one before and by itself."""
        while self._next_root(self._signed[ROOT]["version"] + 1):
            if len(self._roots) > MAX_ROOTS:
                raise Damaged(f"There are more than {MAX_ROOTS} roots from the pinned one on.", kept=KEPT, then=AGAIN)

    def _next_root(self, version: int) -> bool:
        name = layout.metadata_name(ROOT, version)
        if self._known_root(name, version):
            return True
        data = self._fetch(name)
        if data is not None:
            self._take_root(name, data, version)
        return data is not None

    def _known_root(self, name: str, version: int) -> bool:
        if name in self._known:
            with contextlib.suppress(LumenError):
                self._take_root(name, self._known[name], version)
                return True
        return False

    def _take_root(self, name: str, data: bytes, version: int) -> None:
        signed = checked(ROOT, data, version=version)
        if signed["publisher_id"] != self._publisher_id:
            raise Untrusted("A root belongs to another publisher.", kept=KEPT, then="Ask the publisher for a medium.")
        self._take(ROOT, data, signed, self._trusted.update_root)
        self._roots[name] = data

    def read_timestamp(self) -> None:
        """The known timestamp, to hold the medium's against; then the medium's, which may be the same."""
        name = layout.metadata_name(TIMESTAMP, 0)
        if name in self._known:
            with contextlib.suppress(LumenError):
                data = self._known[name]
                self._take(TIMESTAMP, data, checked(TIMESTAMP, data), self._trusted.update_timestamp)
        data = _there(name, self._fetch(name))
        self._take(TIMESTAMP, data, checked(TIMESTAMP, data), self._update_timestamp)

    def _update_timestamp(self, data: bytes) -> None:
        try:
            self._trusted.update_timestamp(data)
        except exceptions.EqualVersionNumberError:
            if checked(TIMESTAMP, data) != self._trusted.timestamp.to_dict():
                raise signed_twice(TIMESTAMP, self._trusted.timestamp.version) from None

    def read_snapshot(self) -> None:
        """The known snapshot, to hold the new one against; then the one that the timestamp names."""
        names = [name for name in self._known if name.endswith(f".{SNAPSHOT}.json")]
        with contextlib.suppress(LumenError):
            for name in sorted(names, key=lambda name: layout.parse_metadata_name(name)[1])[-1:]:
                data = self._known[name]
                self._take(SNAPSHOT, data, checked(SNAPSHOT, data), self._update_known_snapshot)
        self._named(SNAPSHOT, self._trusted.timestamp.snapshot_meta, self._trusted.update_snapshot)

    def _update_known_snapshot(self, data: bytes) -> None:
        self._trusted.update_snapshot(data, trusted=True)

    def read_targets(self) -> None:
        """The top-level targets and both delegated roles, as the snapshot names them."""
        meta = self._trusted.snapshot.meta
        self._named(TARGETS, meta[f"{TARGETS}.json"], self._trusted.update_targets)
        for role in DELEGATED:

            def update(data: bytes, role: str = role) -> object:
                return self._trusted.update_delegated_targets(data, role, TARGETS)

            self._named(role, meta[f"{role}.json"], update)

    def _named(self, role: str, meta: MetaFile, update: Callable[[bytes], object]) -> None:
        """The file of a certain version, length and hash: from what is known, or else from the medium."""
        name = layout.metadata_name(role, meta.version)
        data = self._known.get(name)
        if data is None or not _is(meta, data):
            data = _there(name, self._fetch(name))
        self._take(role, data, checked(role, data, version=meta.version), update)

    def _take(self, role: str, data: bytes, signed: dict[str, Any], update: Callable[[bytes], object]) -> None:
        """Let TUF decide on the bytes that were ``checked``, and make sure that it read the same in them."""
        with in_our_words(role):
            update(data)
        if self._trusted[role].to_dict() != signed:
            raise Damaged(f"The {role} metadata can be read in two ways.", kept=KEPT, then=AGAIN)
        self._signed[role], self._bytes[role] = signed, data

    def read_revocations(self, fetch_target: FetchTarget) -> bytes:
        """The bytes of the list that the top-level targets name."""
        file = self._trusted.targets.targets[REVOCATIONS]
        data = self._known.get(REVOCATIONS)
        if data is None or not _is(file, data):
            data = fetch_target(REVOCATIONS, file.hashes["sha256"])
        return Target.of(file).verified(data)

    def result(self, revocations: bytes, now: datetime) -> Accepted:
        signed_at = parse_stamp(self._signed[TIMESTAMP]["signed_at"])
        moment = stamp(max(now, signed_at))
        files = {layout.metadata_name(role, self._signed[role]["version"]): self._bytes[role] for role in ROLES}
        return Accepted(
            publisher_id=self._publisher_id,
            publisher=self._signed[ROOT]["publisher"],
            root=self._bytes[ROOT],
            files={**self._roots, **files, REVOCATIONS: revocations},
            targets=self._targets(),
            revocations=Revocations.parse(revocations),
            observed=Observed({role: self._observed(role) for role in ROLES}, signed_at),
            signed_at=signed_at,
            expired=tuple(role for role in ROLES if self._signed[role]["expires"] <= moment),
        )

    def _targets(self) -> dict[str, Target]:
        listed = [self._trusted[role] for role in (TARGETS, *DELEGATED)]
        files = [file for role in listed if isinstance(role, Targets) for file in role.targets.values()]
        return {file.path: Target.of(file) for file in files}

    def _observed(self, role: str) -> RoleFloor:
        delegator = self._trusted.targets if role in DELEGATED else self._trusted.root
        keys = delegator.get_delegated_role(role).keyids
        digest = hashlib.sha256(canonical(self._signed[role])).hexdigest()
        return RoleFloor(self._signed[role]["version"], digest, tuple(sorted(keys)))


def _there(name: str, data: bytes | None) -> bytes:
    if data is None:
        raise Damaged(f"The medium lacks the file metadata/{name}.", kept=KEPT, then="Export the medium again.")
    return data


def _is(file: MetaFile | TargetFile, data: bytes) -> bool:
    try:
        file.verify_length_and_hashes(data)
    except exceptions.LengthOrHashMismatchError:
        return False
    return True
