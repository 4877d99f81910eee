"""Floors: what a box has seen of a publisher, kept where no medium and no deleted file can lower it.

- Of each role the floor is its newest accepted version, the digest of its signed part, and its keys. Older is
  ``Stale``. The same version with another digest is ``Untrusted``: somebody signed one version twice.
- A role's floor is reset only where the accepted root is newer than the root's floor *and* none of the role's keys is
  one of those it had. Adding a key resets nothing. The root's own floor is never reset.
- ``releases`` holds the highest ``min_release`` seen for each thing, by ``models/<name>`` or ``software/<name>``;
  installing needs a ``release`` that is not below it.
- ``signed_at`` is the newest time at which an accepted timestamp was signed, for :func:`.time.trusted_now`.

Whoever keeps the floors seals them; :func:`raised` never lowers any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from .. import strictjson
from ..clock import parse_stamp, stamp
from ..errors import Damaged, Stale, TooNew
from ..strictjson import Fields
from .keys import KEY_ID
from .layout import DELEGATED, ROLES, ROOT, is_name
from .limits import MAX_FLOORS_BYTES, MAX_KEYS, MAX_RELEASE, MAX_VERSION
from .parts import HASH, moment
from .refusals import signed_twice

FORMAT = 1


@dataclass(frozen=True)
class RoleFloor:
    """``digest``: SHA-256 of the canonical signed part, in hex. ``keys``: the ids of the role's keys, sorted."""

    version: int
    digest: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Observed:
    """What one set of accepted metadata shows: all six roles, and when its timestamp was signed."""

    roles: Mapping[str, RoleFloor]
    signed_at: datetime


@dataclass(frozen=True)
class Floors:
    """The floors of one publisher; those of a publisher that was only just pinned are empty."""

    roles: Mapping[str, RoleFloor] = field(default_factory=dict)
    releases: Mapping[str, int] = field(default_factory=dict)
    signed_at: datetime | None = None

    def to_json(self) -> bytes:
        """Strict JSON, as ``docs/format.md`` has it."""
        roles = {
            role: {"version": floor.version, "digest": floor.digest, "keys": list(floor.keys)}
            for role, floor in self.roles.items()
        }
        value: dict[str, Any] = {"format": FORMAT, "roles": roles, "releases": dict(self.releases)}
        if self.signed_at is not None:
            value["signed_at"] = stamp(self.signed_at)
        return strictjson.dumps(value)

    @classmethod
    def from_json(cls, data: bytes) -> Floors:
        """``Damaged`` or ``TooNew`` if these are not the bytes of floors."""
        what = "The record of floors"
        value = strictjson.loads(data, what=what, max_bytes=MAX_FLOORS_BYTES)
        fields = Fields(value, what)
        if fields.number("format", least=1) != FORMAT:
            raise TooNew(f"{what} has a format that this version does not know.", then="Update Lumen Box first.")
        roles = Fields(fields.take("roles", dict), what)
        found = {role: _role(Fields(entry, what)) for role in ROLES if (entry := roles.optional(role, dict))}
        roles.end()
        releases = _releases(Fields(fields.take("releases", dict), what), value["releases"])
        if signed := "signed_at" in value:
            moment(fields, "signed_at")
        fields.end()
        return cls(found, releases, parse_stamp(value["signed_at"]) if signed else None)


def check(floors: Floors, observed: Observed) -> None:
    """``Stale`` if any role is below its floor; ``Untrusted`` if one version was signed twice."""
    for role in ROLES:
        floor, now = floors.roles.get(role), observed.roles[role]
        if floor is None or _is_reset(role, floors, observed):
            continue
        if now.version < floor.version:
            raise Stale(
                f"This is older than what this box has seen: the {role} metadata is version {now.version}, "
                f"and version {floor.version} was accepted before.",
                kept="Nothing was changed.",
                then="Use the publisher's newest medium.",
            )
        if now.version == floor.version and now.digest != floor.digest:
            raise signed_twice(role, now.version)


def raised(floors: Floors, observed: Observed) -> Floors:
    """The floors after ``observed`` was accepted; raises what :func:`check` raises."""
    check(floors, observed)
    newest = max(observed.signed_at, floors.signed_at or observed.signed_at)
    return replace(floors, roles=dict(observed.roles), signed_at=newest)


def check_release(floors: Floors, thing: str, release: int) -> None:
    """``Stale`` if ``release`` of ``thing`` (``models/<name>``) is below the highest ``min_release`` seen for it."""
    if release < (least := floors.releases.get(thing, 0)):
        raise Stale(
            f"Release {release} of {thing} may no longer be installed: its publisher asks for at least {least}.",
            kept="Nothing was changed.",
            then="Install a newer version of it.",
        )


def raised_release(floors: Floors, thing: str, min_release: int) -> Floors:
    """The floors after a manifest of ``thing`` with this ``min_release`` was seen."""
    highest = max(min_release, floors.releases.get(thing, 0))
    return replace(floors, releases={**floors.releases, thing: highest})


def _is_reset(role: str, floors: Floors, observed: Observed) -> bool:
    root = floors.roles.get(ROOT)
    if role == ROOT or root is None or observed.roles[ROOT].version <= root.version:
        return False
    return not set(floors.roles[role].keys) & set(observed.roles[role].keys)


def _role(fields: Fields) -> RoleFloor:
    keys = fields.take("keys", list)
    if len(keys) > MAX_KEYS:
        raise Damaged(f"{fields.what} lists too many keys.")
    for key in keys:
        Fields({"key": key}, fields.what).text("key", pattern=KEY_ID)
    floor = RoleFloor(
        fields.number("version", least=1, most=MAX_VERSION), fields.text("digest", pattern=HASH), tuple(keys)
    )
    fields.end()
    return floor


def _releases(fields: Fields, names: Mapping[str, Any]) -> dict[str, int]:
    for thing in names:
        role, _, name = thing.partition("/")
        if role not in DELEGATED or not is_name(name):
            raise Damaged(f"{fields.what} names something that cannot be installed.")
    return {thing: fields.number(thing, most=MAX_RELEASE) for thing in names}
