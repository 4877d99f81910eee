"""The record of floors: what it does not let go below, and its JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lumen_box.errors import Damaged, LumenError, Stale, TooNew, Untrusted
from lumen_box.trust.floors import (
    Floors,
    Observed,
    RoleFloor,
    check,
    check_release,
    raised,
    raised_release,
)
from lumen_box.trust.layout import ROLES

from .simulator import DAY, NOW

A, B, C = "a" * 64, "b" * 64, "c" * 64


def seen(role: str = "", version: int = 5, keys: str = "a", digest: str = A, *, root: int = 5) -> Observed:
    """All roles at version 5 with key a, but for this one."""
    roles = {name: RoleFloor(5, A, (A,)) for name in ROLES} | {"root": RoleFloor(root, A if root == 5 else B, (A,))}
    if role:
        roles[role] = RoleFloor(version, digest, tuple(letter * 64 for letter in keys))
    return Observed(roles, NOW)


FLOORS = raised(Floors(), seen())

# What is seen after all roles were at version 5 under root 5, and what the floors say.
CASES: list[tuple[str, Observed, type[LumenError] | None]] = [
    ("the same again", seen(), None),
    ("newer", seen("models", 6, digest=B), None),
    ("older", seen("models", 4), Stale),
    ("much older", seen("timestamp", 1), Stale),
    ("an older root", seen("root", 4), Stale),
    ("another of the same version", seen("models", 5, digest=B), Untrusted),
    ("another root of the same version", seen("root", 5, digest=B), Untrusted),
    ("older under a newer root", seen("models", 4, root=6), Stale),
    ("older with another key", seen("models", 4, "b"), Stale),
    ("older with another key under a newer root", seen("models", 4, "b", root=6), None),
    ("older with a key more under a newer root", seen("models", 4, "ab", root=6), Stale),
    ("another of the same version, other key, newer root", seen("models", 5, "b", B, root=6), None),
    ("an older root with another key", seen("root", 4, "b"), Stale),
    ("older with another key under an older root", seen("models", 4, "b", root=4), Stale),
]


@pytest.mark.parametrize(("observed", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_floors(observed: Observed, expected: type[LumenError] | None) -> None:
    if expected is None:
        check(FLOORS, observed)
        assert raised(FLOORS, observed).roles == observed.roles
        return
    with pytest.raises(expected) as caught:
        check(FLOORS, observed)
    assert type(caught.value) is expected
    with pytest.raises(expected):
        raised(FLOORS, observed)


def test_a_new_publisher_has_no_floors() -> None:
    check(Floors(), seen("models", 1))
    assert raised(Floors(), seen()) == Floors(seen().roles, {}, NOW)


def test_the_newest_signing_time_stays() -> None:
    older = replace(seen(), signed_at=NOW - DAY)
    assert raised(FLOORS, older).signed_at == NOW
    assert raised(raised(Floors(), older), seen()).signed_at == NOW


def test_releases() -> None:
    floors = Floors()
    check_release(floors, "models/clinical", 0)
    floors = raised_release(floors, "models/clinical", 7)
    floors = raised_release(floors, "models/clinical", 3)
    floors = raised_release(floors, "models/other", 1)
    assert floors.releases == {"models/clinical": 7, "models/other": 1}
    check_release(floors, "models/clinical", 7)
    check_release(floors, "models/new", 1)
    with pytest.raises(Stale, match="Release 6 of models/clinical may no longer be installed"):
        check_release(floors, "models/clinical", 6)
    assert raised(floors, seen()).releases == floors.releases  # metadata leaves them alone


def test_json_and_back() -> None:
    for floors in (Floors(), FLOORS, raised_release(FLOORS, "software/lumen-box", 2**31 - 1)):
        assert Floors.from_json(floors.to_json()) == floors


def test_json_is_exactly_this() -> None:
    floors = Floors({"root": RoleFloor(3, A, (B, C))}, {"models/clinical": 7}, NOW)
    assert json.loads(floors.to_json()) == {
        "format": 1,
        "roles": {"root": {"version": 3, "digest": A, "keys": [B, C]}},
        "releases": {"models/clinical": 7},
        "signed_at": "2026-11-23T09:00:00Z",
    }


BAD: dict[str, tuple[Callable[[dict[str, Any]], object], type[LumenError]]] = {
    "another format": (lambda value: value.update(format=2), TooNew),
    "format 0": (lambda value: value.update(format=0), Damaged),
    "one more field": (lambda value: value.update(x=1), TooNew),
    "one more role": (lambda value: value["roles"].update(mirrors=value["roles"]["root"]), TooNew),
    "no roles": (lambda value: value.pop("roles"), Damaged),
    "version 0": (lambda value: value["roles"]["root"].update(version=0), Damaged),
    "version 2^63": (lambda value: value["roles"]["root"].update(version=2**63), Damaged),
    "a short digest": (lambda value: value["roles"]["root"].update(digest="00"), Damaged),
    "a key that is a number": (lambda value: value["roles"]["root"].update(keys=[1]), Damaged),
    "too many keys": (lambda value: value["roles"]["root"].update(keys=[A] * 17), Damaged),
    "a release below 0": (lambda value: value["releases"].update({"models/x": -1}), Damaged),
    "a release of nothing": (lambda value: value["releases"].update({"models/../x": 1}), Damaged),
    "a release of no role": (lambda value: value["releases"].update({"targets/x": 1}), Damaged),
    "signed at no time": (lambda value: value.update(signed_at="now"), Damaged),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_json(what: str) -> None:
    edit, expected = BAD[what]
    value = json.loads(FLOORS.to_json())
    edit(value)
    with pytest.raises(expected):
        Floors.from_json(json.dumps(value).encode())


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"format": 1.0}', b"\xff", b"[" * 100_000])
def test_no_json(data: bytes) -> None:
    with pytest.raises(Damaged):
        Floors.from_json(data)
