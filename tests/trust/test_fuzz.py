"""Anything at all, signed by the right keys: either it is refused with words, or it means what it says."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tuf.api.metadata import Metadata

from lumen_box.errors import LumenError
from lumen_box.trust.layout import ROLES
from lumen_box.trust.verify import checked

from .conftest import World
from .simulator import Medium, sealed

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**53, 2**63, "root", "models", "sha256", "../x", "", "a" * 64])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
FEW = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container and key at which something could be put, in the whole tree."""
    items = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else [])
    return [(value, key) for key, _ in items] + [place for _, inner in items for place in places(inner)]


@FEW
@given(
    role=st.sampled_from(ROLES), where=st.integers(0, 10**6), what=VALUES, act=st.sampled_from(["set", "drop", "add"])
)
def test_any_member_anywhere(world: World, role: str, where: int, what: Any, act: str) -> None:
    medium = world.medium if role != "root" else world.publisher.next_root(world.medium)
    signed = medium.signed(role)
    found = places(signed)
    container, key = found[where % len(found)]
    if act == "drop":
        del container[key]
    elif act == "add" and isinstance(container, dict):
        container[str(what)[:64]] = what
    else:
        container[key] = what
    read(world, world.publisher.replaced(medium, role, sealed(signed, world.publisher.keys[role])))


@FEW
@given(
    role=st.sampled_from(ROLES),
    start=st.integers(0, 10**6),
    length=st.integers(0, 40),
    new=st.binary(max_size=8)
    | st.sampled_from([b'"', b"\\", b"{", b"}", b"[", b"]", b",", b"0", b"\\u0000", b"\\ud800"]),
)
def test_any_bytes_anywhere(world: World, role: str, start: int, length: int, new: bytes) -> None:
    medium = world.medium if role != "root" else world.publisher.next_root(world.medium)
    data = medium.file(role)
    place = start % len(data)
    read(world, world.publisher.replaced(medium, role, data[:place] + new + data[place + length :]))


def read(world: World, medium: Medium) -> None:
    """No other error than ours; and what is accepted was read by TUF as we read it."""
    try:
        world.box().read(medium)
    except LumenError as error:
        assert error.exit_code in (20, 21, 22, 25)
        assert error.what and error.then
        return
    for role in ROLES:
        data = medium.file(role)
        assert checked(role, data) == Metadata.from_bytes(data).signed.to_dict() == json.loads(data)["signed"]
