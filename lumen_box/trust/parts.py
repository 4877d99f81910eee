"""What each role's metadata holds besides version and expiry, field by field.

root       consistent_snapshot, publisher, publisher_id (from version 2 on), keys, roles
timestamp  signed_at, meta: the snapshot's version, length and SHA-256
snapshot   meta: the same of targets, models and software
targets    targets: revocations.json alone; delegations to models and software, with the one path pattern of each
models     targets: models/<name>/<version>.json       software   targets: software/<name>/<version>.json
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from ..clock import parse_stamp, stamp
from ..errors import Damaged, TooNew, Untrusted
from ..strictjson import Fields
from . import layout
from .keys import KEY_ID, CompositeKey
from .layout import TargetPath
from .limits import MAX_BYTES, MAX_KEYS, MAX_PUBLISHER, MAX_TARGET_BYTES, MAX_TARGETS, MAX_VERSION

KEPT = "Nothing was changed."
AGAIN = "Fetch the data again from its publisher."
HASH = r"[0-9a-f]{64}"


def moment(fields: Fields, name: str) -> None:
    """A field that holds a time in its one spelling."""
    text = fields.text(name)
    try:
        if stamp(parse_stamp(text)) == text:
            return
    except (ValueError, OverflowError):
        pass
    raise Damaged(f"The field {name!r} of {fields.what} is not a time.", kept=KEPT, then=AGAIN)


def _root(fields: Fields, version: int) -> None:
    if not fields.take("consistent_snapshot", bool):
        raise Damaged(f"{fields.what} does not promise consistent snapshots.", kept=KEPT, then=AGAIN)
    name = fields.text("publisher", longest=MAX_PUBLISHER)
    if not name.isprintable() or name != name.strip() or not name:
        raise Damaged("The publisher's name is not a plain line of text.", kept=KEPT, then=AGAIN)
    if version > 1:
        fields.text("publisher_id", pattern=HASH)
    known = _keys(fields.take("keys", dict))
    roles = Fields(fields.take("roles", dict), "The roles of the root")
    used: set[str] = set()
    for role in layout.TOP_LEVEL:
        used |= _role(Fields(roles.take(role, dict), f"The role {role}"))
    roles.end()
    _same(known, used)


def _keys(entries: dict[str, Any]) -> set[str]:
    """The ids of keys whose id is their fingerprint."""
    if len(entries) > MAX_KEYS * len(layout.ROLES):
        raise Damaged("The metadata lists too many keys.", kept=KEPT, then=AGAIN)
    for keyid, entry in entries.items():
        CompositeKey.from_dict(keyid, entry)
    return set(entries)


def _role(fields: Fields) -> set[str]:
    """The key ids of one role, its threshold among them."""
    keyids = fields.take("keyids", list)
    sound = all(isinstance(keyid, str) and re.fullmatch(KEY_ID, keyid) for keyid in keyids[: MAX_KEYS + 1])
    if not sound or not 1 <= len(keyids) <= MAX_KEYS or len(set(keyids)) != len(keyids):
        raise Damaged(f"{fields.what} does not list from 1 to {MAX_KEYS} different keys.", kept=KEPT, then=AGAIN)
    fields.number("threshold", least=1, most=len(keyids))
    fields.end()
    return set(keyids)


def _same(known: set[str], used: set[str]) -> None:
    if known != used:
        raise Damaged("The keys listed are not exactly those that the roles use.", kept=KEPT, then=AGAIN)


def _timestamp(fields: Fields, version: int) -> None:
    moment(fields, "signed_at")
    _meta(fields, [layout.SNAPSHOT])


def _snapshot(fields: Fields, version: int) -> None:
    _meta(fields, [layout.TARGETS, *layout.DELEGATED])


def _meta(fields: Fields, roles: Iterable[str]) -> None:
    """Version, length and hash of other metadata; all three, so that two exports cannot be mixed."""
    meta = Fields(fields.take("meta", dict), fields.what)
    for role in roles:
        entry = Fields(
            meta.take(f"{role}.json", dict), f"The entry {role}.json of {fields.what[0].lower()}{fields.what[1:]}"
        )
        entry.number("version", least=1, most=MAX_VERSION)
        _file(entry, MAX_BYTES[role])
    meta.end()


def _file(entry: Fields, most: int) -> None:
    entry.number("length", least=1, most=most)
    hashes = Fields(entry.take("hashes", dict), entry.what)
    hashes.text("sha256", pattern=HASH)
    hashes.end()
    entry.end()


def _targets(fields: Fields, version: int) -> None:
    _listed(fields, layout.TARGETS)
    delegations = Fields(fields.take("delegations", dict), "The delegations")
    known = _keys(delegations.take("keys", dict))
    roles = delegations.take("roles", list)
    delegations.end()
    names = [role.get("name") if isinstance(role, dict) else None for role in roles]
    if len(names) > len(layout.DELEGATED) or any(name not in layout.DELEGATED for name in names):
        raise TooNew(
            "The metadata delegates to a role that this version does not know.",
            kept=KEPT,
            then="Update Lumen Box first, then try again.",
        )
    if names != list(layout.DELEGATED):
        raise Damaged("The metadata does not delegate to models and software, in this order.", kept=KEPT, then=AGAIN)
    _same(known, set().union(*(_delegation(Fields(role, "A delegation")) for role in roles)))


def _delegation(fields: Fields) -> set[str]:
    name = fields.take("name", str)
    if fields.take("paths", list) != [layout.pattern(name)] or not fields.take("terminating", bool):
        raise Untrusted(f"The role {name} is given what is not its to sign.", kept=KEPT, then=AGAIN)
    return _role(fields)


def _delegated(role: str) -> Callable[[Fields, int], None]:
    def part(fields: Fields, version: int) -> None:
        _listed(fields, role)

    return part


def _listed(fields: Fields, role: str) -> None:
    """The targets of a role, each within its own paths."""
    targets = fields.take("targets", dict)
    if len(targets) > MAX_TARGETS:
        raise Damaged(f"{fields.what} lists more than {MAX_TARGETS} targets.", kept=KEPT, then=AGAIN)
    for path, entry in targets.items():
        owner = TargetPath.parse(path).role
        if owner != role:
            raise Untrusted(
                f"The role {role} lists {path!r}, which only the role {owner} may sign.",
                kept=KEPT,
                then="Ask the publisher what was signed.",
            )
        _file(Fields(entry, f"The target {path}"), MAX_TARGET_BYTES)
    if role == layout.TARGETS and layout.REVOCATIONS not in targets:
        raise Damaged(f"{fields.what} does not list {layout.REVOCATIONS}.", kept=KEPT, then=AGAIN)


PARTS: dict[str, Callable[[Fields, int], None]] = {
    layout.ROOT: _root,
    layout.TIMESTAMP: _timestamp,
    layout.SNAPSHOT: _snapshot,
    layout.TARGETS: _targets,
    layout.MODELS: _delegated(layout.MODELS),
    layout.SOFTWARE: _delegated(layout.SOFTWARE),
}
