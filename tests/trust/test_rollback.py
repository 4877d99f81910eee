"""Old media after newer ones, with what the box knew whole, deleted or damaged; and the ways out that are meant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lumen_box.errors import Stale, Untrusted
from lumen_box.trust.floors import Floors
from lumen_box.trust.layout import DELEGATED, ROLES
from lumen_box.trust.limits import MAX_VERSION

from .simulator import DAY, Box, Medium, Publisher, key

Known = dict[str, bytes]


def without(*roles: str) -> Callable[[Known], Known]:
    return lambda known: {name: data for name, data in known.items() if name.split(".")[-2] not in roles}


# What happened to the metadata that the box kept since it saw the newer medium.
HOMES: dict[str, Callable[[Known], Known]] = {
    "whole": lambda known: known,
    "timestamp deleted": without("timestamp"),
    "snapshot deleted": without("snapshot"),
    "snapshot and timestamp deleted": without("snapshot", "timestamp"),
    "all but the roots deleted": without("snapshot", "timestamp", "targets", "models", "software"),
    "all deleted": lambda known: {},
    "all damaged": lambda known: {name: data[: len(data) // 2] for name, data in known.items()},
    "all empty": lambda known: dict.fromkeys(known, b""),
    "odd names": lambda known: {"../timestamp.json": b"{}", "x.snapshot.json": b"", "7.mirrors.json": b"{}", "": b""},
}


@pytest.fixture(scope="module")
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture(scope="module")
def media(publisher: Publisher) -> list[Medium]:
    """Three exports: the second lists one more model, the third comes after a rotation of the root's keys."""
    first, second = publisher.export("clinical/1.0.0"), publisher.export("clinical/1.0.1", after=DAY)
    publisher.rotate("root")
    return [first, second, publisher.export("clinical/1.0.2", after=DAY)]


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize(("seen", "old"), [(1, 0), (2, 1), (2, 0)])
def test_old_media_after_newer(publisher: Publisher, media: list[Medium], home: str, seen: int, old: int) -> None:
    box = Box(publisher.first_root)
    box.install(media[seen])
    box.known = HOMES[home](box.known)
    before = (dict(box.known), box.floors)
    with pytest.raises(Stale):
        box.install(media[old])
    assert (box.known, box.floors) == before
    assert box.install(media[2]).target("models/clinical/1.0.2.json")  # nothing was broken by it


def test_without_floors_and_without_known_metadata_old_media_are_news(
    publisher: Publisher, media: list[Medium]
) -> None:
    """Shows that it is the floors that refuse in the test above where everything was deleted."""
    box = Box(publisher.first_root)
    box.install(media[1])
    box.known, box.floors = {}, Floors()
    assert box.install(media[0])


@pytest.mark.parametrize("home", ["whole", "timestamp deleted", "snapshot deleted"])
def test_without_floors_either_known_file_alone_refuses_old_media(
    publisher: Publisher, media: list[Medium], home: str
) -> None:
    box = Box(publisher.first_root)
    box.install(media[1])
    box.known, box.floors = HOMES[home](box.known), Floors()
    with pytest.raises(Stale):
        box.install(media[0])


@pytest.mark.parametrize("home", HOMES)
def test_the_same_medium_again(publisher: Publisher, media: list[Medium], home: str) -> None:
    box = Box(publisher.first_root)
    first = box.install(media[2])
    box.known = HOMES[home](box.known)
    again = box.install(media[2])
    assert (again.observed, again.files) == (first.observed, first.files)


def test_known_metadata_alone_is_enough_to_read_it_again(publisher: Publisher, media: list[Medium]) -> None:
    """So that an activation can ask for revocations without a medium."""
    box = Box(publisher.first_root)
    first = box.install(media[2])
    kept = Medium({name: data for name, data in box.known.items() if name != "revocations.json"}, b"")
    assert box.read(kept).revocations == first.revocations


def older(publisher: Publisher, role: str) -> tuple[Box, Medium]:
    """A box at version 5 of a role, and a medium newer in all but that role, which is at version 4."""
    medium = publisher.export("clinical/1.0.0")

    def at(version: int) -> Callable[[dict[str, Any]], None]:
        return lambda signed: signed.update(version=version)

    box = Box(publisher.first_root)
    box.install(publisher.forged(medium, role, at(5)))
    newer = publisher.forged(medium, role, at(4))
    for above in ("snapshot", "timestamp"):
        if above != role:
            newer = publisher.forged(newer, above, at(9))
    return box, newer


@pytest.mark.parametrize("role", ["snapshot", "targets", "models", "software"])
@pytest.mark.parametrize("home", HOMES)
def test_one_role_alone_goes_back(role: str, home: str) -> None:
    """As somebody could sign who has the keys of snapshot and timestamp, but not those of the role."""
    box, newer = older(Publisher(), role)
    box.known = HOMES[home](box.known)
    with pytest.raises(Stale) as caught:
        box.read(newer)
    above = {"timestamp"} if role == "snapshot" else {"snapshot"}
    assert any(f"The {name} metadata" in str(caught.value) for name in above) or f"the {role} metadata" in str(
        caught.value
    )


def test_the_root_never_goes_back() -> None:
    """Even where its keys were replaced, which resets the floors of other roles."""
    publisher = Publisher()
    before = publisher.export()
    publisher.rotate(*ROLES)
    box = Box(publisher.first_root)
    box.install(publisher.export())
    box.known = {}
    with pytest.raises(Stale, match="root metadata is version 1, and version 2"):
        box.read(before)


GROUPS = [["timestamp", "snapshot"], ["targets", "timestamp", "snapshot"], ["models"], ["software"]]


@pytest.mark.parametrize("roles", GROUPS, ids=" ".join)
@pytest.mark.parametrize("home", ["whole", "all deleted"])
def test_the_way_out_after_a_stolen_key_signed_the_last_version(roles: list[str], home: str) -> None:
    """Fast-forwarded to the largest version there is; new keys under a new root bring the box back."""
    publisher = Publisher()
    medium = publisher.export("clinical/1.0.0")
    stolen = medium
    for role in roles:
        stolen = publisher.forged(stolen, role, lambda signed: signed.update(version=MAX_VERSION))
    box = Box(publisher.first_root)
    box.install(stolen)
    box.known = HOMES[home](box.known)
    with pytest.raises(Stale):
        box.read(publisher.export("clinical/1.0.1"))
    publisher.rotate(*roles, *([] if "snapshot" in roles else ["snapshot", "timestamp"]))
    assert box.install(publisher.export("clinical/1.0.2")).observed.roles[roles[0]].version < 10
    with pytest.raises((Stale, Untrusted)):
        box.read(stolen)  # and the stolen key is worth nothing from now on


@pytest.mark.parametrize("role", ["models", "targets"])
def test_a_key_more_is_not_a_replacement(role: str) -> None:
    """With a new root, but the old key still among the role's: the floor stays."""
    publisher = Publisher()
    medium = publisher.export("clinical/1.0.0")
    box = Box(publisher.first_root)
    box.install(publisher.forged(medium, role, lambda signed: signed.update(version=50)))
    publisher.keys[role] = [*publisher.keys[role], key("another")]
    publisher.repository.rotate(role, publisher.keys[role])
    box.known = {}
    with pytest.raises(Stale, match=f"{role} metadata is version [0-9]+, and version 50"):
        box.read(publisher.export())


@pytest.mark.parametrize("role", DELEGATED)
def test_other_keys_without_a_newer_root_reset_nothing(role: str) -> None:
    """Somebody with the keys of targets, snapshot and timestamp gives ``models`` a key of their own."""
    publisher = Publisher()
    medium = publisher.export("clinical/1.0.0")
    box = Box(publisher.first_root)
    box.install(publisher.forged(medium, role, lambda signed: signed.update(version=50)))
    publisher.rotate(role)
    after = publisher.export()
    del after.metadata["2.root.json"]  # so that what is left is what they could have signed
    box.known = {}
    with pytest.raises(Stale, match=f"{role} metadata is version 2, and version 50"):
        box.read(after)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "models", "software"])
@pytest.mark.parametrize("home", ["whole", "snapshot and timestamp deleted", "all deleted"])
def test_one_version_signed_twice(role: str, home: str) -> None:
    """A publisher's workspace came back from a backup and went on from there."""
    publisher = Publisher()
    medium = publisher.export("clinical/1.0.0")
    box = Box(publisher.first_root)
    box.install(medium)
    box.known = HOMES[home](box.known)
    with pytest.raises(Untrusted, match=f"two different versions 1 of its (timestamp|snapshot|{role}) metadata"):
        box.read(publisher.forged(medium, role, lambda signed: signed.update(expires="2030-01-01T00:00:00Z")))


def test_a_role_signed_twice_under_a_newer_timestamp() -> None:
    publisher = Publisher()
    medium = publisher.export("clinical/1.0.0")
    box = Box(publisher.first_root)
    box.install(medium)
    other = publisher.forged(medium, "models", lambda signed: signed["targets"].clear())
    for above in ("snapshot", "timestamp"):
        other = publisher.forged(other, above, lambda signed: signed.update(version=2))
    with pytest.raises(Untrusted, match="two different versions 1 of its models metadata"):
        box.read(other)


def test_another_second_root(publisher: Publisher, media: list[Medium]) -> None:
    """The same keys sign two different second roots: the box keeps to the one that it has seen."""
    box = Box(publisher.first_root)
    box.install(media[2])
    box.known = {}
    seen = box.floors.roles["root"]
    box.floors = replace(box.floors, roles={**box.floors.roles, "root": replace(seen, digest="0" * 64)})
    with pytest.raises(Untrusted, match="two different versions 2 of its root metadata"):
        box.read(media[2])
