"""Files of two exports, or of two publishers, on one medium; files renamed, missing or cut short."""

from __future__ import annotations

import itertools

import pytest

from lumen_box.errors import Damaged, LumenError, Stale, Untrusted
from lumen_box.trust.layout import ROLES
from lumen_box.trust.repository import generate_keys

from .conftest import World
from .simulator import DAY, Box, Medium, Publisher, sealed

PARTS = ["timestamp", "snapshot", "targets", "models", "software"]


@pytest.fixture(scope="module")
def exports() -> tuple[Publisher, Medium, Medium]:
    """Two exports in which every role has another version, under the same root."""
    publisher = Publisher()
    publisher.repository.put("software/lumen-box/1.0.0.json", b"one")
    old = publisher.export("clinical/1.0.0")
    publisher.repository.put("software/lumen-box/1.1.0.json", b"two")
    publisher.repository.revoke(publisher.repository.revocations.adding(bundles=["models/clinical/1.0.0.json"]))
    return publisher, old, publisher.export("clinical/1.0.1", after=DAY)


MIXTURES = [chosen for count in range(1, len(PARTS)) for chosen in itertools.combinations(PARTS, count)]


@pytest.mark.parametrize("chosen", MIXTURES, ids=" ".join)
@pytest.mark.parametrize("renamed", [False, True])
def test_metadata_mixed_from_two_exports(
    exports: tuple[Publisher, Medium, Medium], chosen: tuple[str, ...], renamed: bool
) -> None:
    """These roles from the old export and the rest from the new one: under their own names, or under the others'."""
    publisher, old, new = exports
    mixed = Medium({"1.root.json": publisher.first_root}, new.revocations)
    for role in PARTS:
        source = old if role in chosen else new
        mixed.metadata[(new if renamed else source).name(role)] = source.file(role)
    box = Box(publisher.first_root)
    seen = box.install(new)
    if "timestamp" in chosen:
        with pytest.raises(Stale):
            box.read(mixed)
    else:  # the newest timestamp names files that the box has; the medium's wrong ones are not even asked for
        assert box.read(mixed) == seen
    box.known = {}
    with pytest.raises((Damaged, Stale)):
        box.read(mixed)
    with pytest.raises(Damaged):  # also for a box that has seen nothing yet
        Box(publisher.first_root).read(mixed)


def test_all_files_of_both_exports_are_the_newer_export(exports: tuple[Publisher, Medium, Medium]) -> None:
    """A medium that was written twice, without a file being removed."""
    publisher, old, new = exports
    both = Medium({**old.metadata, **new.metadata}, new.revocations)
    assert Box(publisher.first_root).read(both).observed == Box(publisher.first_root).read(new).observed


def test_revocations_of_the_other_export(exports: tuple[Publisher, Medium, Medium]) -> None:
    publisher, old, new = exports
    with pytest.raises(Damaged, match=r"revocations\.json is not the one that was signed"):
        Box(publisher.first_root).read(Medium(new.metadata, old.revocations))


@pytest.mark.parametrize("role", PARTS)
def test_a_missing_file_is_named(world: World, role: str) -> None:
    medium = world.medium.copy()
    name = medium.name(role)
    del medium.metadata[name]
    with pytest.raises(Damaged, match=name):
        world.box().read(medium)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("other", ROLES)
def test_one_roles_file_in_the_place_of_anothers(world: World, role: str, other: str) -> None:
    if role == other:
        return
    medium = world.medium.copy()
    medium.metadata[medium.name(role)] = world.medium.file(other)
    with pytest.raises((Damaged, Untrusted)):
        world.box().read(medium)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_file_cut_short_or_longer(world: World, role: str, cut: int) -> None:
    medium = world.medium.copy()
    data = medium.file(role)
    medium.metadata[medium.name(role)] = data[:cut] if cut >= 0 else data + b"{}"
    with pytest.raises(Damaged):
        world.box().read(medium)


@pytest.mark.parametrize("role", PARTS)
def test_another_publishers_file(world: World, role: str) -> None:
    other = Publisher(keys=generate_keys()).export("clinical/1.0.0")
    medium = world.medium.copy()
    medium.metadata[medium.name(role)] = other.file(role)
    with pytest.raises(LumenError) as caught:
        world.box().read(medium)
    assert caught.value.exit_code in (20, 22)


def test_another_publishers_medium(world: World) -> None:
    other = Publisher(keys=generate_keys()).export("clinical/1.0.0")
    with pytest.raises(Untrusted):
        world.box().read(other)


def test_a_root_that_claims_to_belong_to_another_publisher(world: World) -> None:
    medium = world.publisher.next_root(world.medium, lambda signed: signed.update(publisher_id="0" * 64))
    with pytest.raises(Untrusted, match="another publisher"):
        world.box().read(medium)


def test_hundreds_of_roots() -> None:
    publisher = Publisher()
    medium = publisher.export("clinical/1.0.0")
    signed = medium.signed("root") | {"publisher_id": publisher.repository.publisher_id}
    for version in range(2, 302):
        medium.metadata[f"{version}.root.json"] = sealed(signed | {"version": version}, publisher.keys["root"])
    box = Box(publisher.first_root)
    assert box.install(medium).observed.roles["root"].version == 301
    assert len(box.known) == 301 + 6
    box.now += DAY
    assert box.install(medium).observed.roles["root"].version == 301
    del medium.metadata["150.root.json"]  # now the medium's chain ends at 149, and the box knows better
    assert box.install(medium).observed.roles["root"].version == 301
    box.known = {}
    with pytest.raises(Stale):
        box.install(medium)


def test_more_roots_than_anybody_needs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lumen_box.trust.session.MAX_ROOTS", 3)
    medium = world.medium
    medium = world.publisher.next_root(medium)
    assert world.box().read(medium).observed.roles["root"].version == 3
    with pytest.raises(Damaged, match="more than 3 roots"):
        world.box().read(world.publisher.next_root(medium))
