"""The publisher's side: what it issues, when, and what it refuses to issue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from lumen_box.errors import Damaged, LumenError, Untrusted, UsageError
from lumen_box.trust.layout import LIFETIME, RENEW_BELOW, ROLES, ROTATION_GROUPS
from lumen_box.trust.repository import Repository, generate_keys
from lumen_box.trust.revocations import Revocations

from .simulator import DAY, NOW, Box, Medium, Publisher, key, keys

MODEL = "models/clinical/1.0.0.json"


def versions(medium: Medium) -> dict[str, int]:
    return {role: medium.signed(role)["version"] for role in ROLES}


def test_a_first_export() -> None:
    publisher = Publisher()
    medium = publisher.export("clinical/1.0.0")
    assert versions(medium) == dict.fromkeys(ROLES, 1)
    assert sorted(medium.metadata) == [
        "1.models.json",
        "1.root.json",
        "1.snapshot.json",
        "1.software.json",
        "1.targets.json",
        "timestamp.json",
    ]
    accepted = Box(publisher.first_root).read(medium)
    assert (accepted.publisher, accepted.publisher_id) == ("Demo publisher", publisher.repository.publisher_id)
    assert accepted.target(MODEL).length == len(b"clinical/1.0.0")
    assert accepted.signed_at == NOW
    assert accepted.root == publisher.first_root


def test_only_what_changed_is_signed_anew() -> None:
    publisher = Publisher()
    publisher.export("clinical/1.0.0")
    base = dict.fromkeys(ROLES, 1)
    assert versions(publisher.export(after=DAY)) == base | {"timestamp": 2}
    assert versions(publisher.export("clinical/1.0.1")) == base | {"timestamp": 3, "snapshot": 2, "models": 2}
    publisher.repository.revoke(Revocations().adding(bundles=[MODEL]))
    assert versions(publisher.export()) == base | {"timestamp": 4, "snapshot": 3, "models": 2, "targets": 2}


def test_what_runs_out_soon_is_signed_anew() -> None:
    publisher = Publisher()
    publisher.export("clinical/1.0.0")
    early = LIFETIME["models"] - RENEW_BELOW["models"]
    assert versions(publisher.export(after=early))["models"] == 1
    late = publisher.export(after=timedelta(seconds=1))
    assert versions(late) == dict.fromkeys(ROLES, 2) | {"root": 1, "timestamp": 3}
    assert versions(publisher.export(after=2 * LIFETIME["root"]))["root"] == 2


def test_only_the_roots_keep_their_history() -> None:
    publisher = Publisher()
    publisher.export("clinical/1.0.0")
    publisher.rotate("root")
    publisher.export("clinical/1.0.1")
    publisher.rotate("root")
    names = set(publisher.export("clinical/1.0.2").metadata)
    assert {"1.root.json", "2.root.json", "3.root.json", "3.models.json", "timestamp.json"} <= names
    assert len(names) == 8


@pytest.mark.parametrize("group", ROTATION_GROUPS)
def test_rotation(group: str) -> None:
    """New keys count, the old do not, and boxes that pinned the first root follow, whatever they saw in between."""
    publisher = Publisher()
    before = publisher.export("clinical/1.0.0")
    old = {role: list(found) for role, found in publisher.keys.items()}
    publisher.rotate(*ROTATION_GROUPS[group])
    medium = publisher.export("clinical/1.0.1", after=DAY)
    assert versions(medium)["root"] == 2
    seen, fresh = Box(publisher.first_root), Box(publisher.first_root)
    seen.install(before)
    for box in (seen, fresh, Box(publisher.repository.root)):
        assert box.install(medium).target("models/clinical/1.0.1.json")
    for role in ROTATION_GROUPS[group]:
        with pytest.raises(Untrusted):
            if role == "root":
                fresh.read(publisher.next_root(medium, signers=old[role]))
            else:
                fresh.read(publisher.forged(medium, role, lambda signed: None, signers=old[role]))


def test_all_keys_twice_between_two_exports() -> None:
    publisher = Publisher()
    publisher.export("clinical/1.0.0")
    publisher.rotate(*ROLES)
    publisher.rotate(*ROLES)
    assert Box(publisher.first_root).read(publisher.export()).observed.roles["root"].version == 2


def test_the_publisher_id_is_for_ever() -> None:
    publisher = Publisher()
    identity = publisher.repository.publisher_id
    for _ in range(3):
        publisher.rotate(*ROLES)
        medium = publisher.export()
        assert publisher.repository.publisher_id == identity
        assert Box(publisher.repository.root).read(medium).publisher_id == identity


@pytest.mark.parametrize("path", ["models/x.json", "models/../x.json", "models/X/1.json", "other/x/1.json", "x"])
def test_a_path_that_cannot_be_is_not_listed(path: str) -> None:
    with pytest.raises(Damaged):
        Publisher().repository.put(path, b"")


def test_revocations_are_not_put_like_a_model() -> None:
    with pytest.raises(UsageError):
        Publisher().repository.put("revocations.json", b"{}")


def test_loaded_again_it_goes_on() -> None:
    publisher = Publisher()
    first = publisher.export("clinical/1.0.0")
    again = Repository.load(first.metadata, first.revocations, publisher.keys)
    assert (again.name, again.publisher_id, again.root) == (
        "Demo publisher",
        publisher.repository.publisher_id,
        publisher.first_root,
    )
    assert again.targets == publisher.repository.targets
    again.put("models/clinical/1.0.1.json", b"more")
    again.rotate("root", keys("next"))
    box = Box(publisher.first_root)
    box.install(first)
    accepted = box.install(Medium.of(again.publish(NOW + DAY)))
    assert {MODEL, "models/clinical/1.0.1.json"} < set(accepted.targets)


SPOILED: dict[str, Callable[[dict[str, bytes]], object]] = {
    "no timestamp": lambda files: files.pop("timestamp.json"),
    "no root": lambda files: files.pop("1.root.json"),
    "a damaged file": lambda files: files.update({"1.models.json": b"{}"}),
    "a strange file": lambda files: files.update({"notes.json": b"{}"}),
    "another role's file": lambda files: files.update({"2.models.json": files["1.software.json"]}),
}


@pytest.mark.parametrize("what", SPOILED)
def test_damaged_metadata_is_not_loaded(what: str) -> None:
    publisher = Publisher()
    files = publisher.export("clinical/1.0.0").metadata
    SPOILED[what](files)
    with pytest.raises(Damaged):
        Repository.load(files, Revocations().to_bytes(), publisher.keys)


@pytest.mark.parametrize("role", ["root", "models", "timestamp"])
def test_with_a_wrong_key_nothing_is_published(role: str) -> None:
    """The box would refuse it; the publisher hears of it first."""
    publisher = Publisher()
    medium = publisher.export("clinical/1.0.0")
    again = Repository.load(medium.metadata, medium.revocations, {**publisher.keys, role: keys("stranger")})
    again.put("models/clinical/1.0.1.json", b"more")
    if role == "root":
        again.rotate("targets", keys("another"))
    with pytest.raises(LumenError) as caught:
        again.publish(NOW)
    assert caught.value.exit_code == 20


@pytest.mark.parametrize(("threshold", "count"), [(0, 1), (2, 1), (-1, 1), (1, 0)])
def test_a_threshold_needs_that_many_keys(threshold: int, count: int) -> None:
    owned = {role: keys(role) for role in ROLES} | {"models": keys("a", "b")[:count]}
    with pytest.raises(UsageError):
        Repository.create("x", owned, NOW, thresholds={"models": threshold})
    with pytest.raises(UsageError):
        Publisher().repository.rotate("models", owned["models"], threshold=threshold)


def test_the_same_key_twice_is_one_key() -> None:
    with pytest.raises(UsageError):
        Publisher().repository.rotate("models", [key("a"), key("a")], threshold=2)


@pytest.mark.parametrize("name", ["", " x", "a\nb", "a\x00", "\u202eb", "x" * 129])
def test_a_name_that_no_box_would_take(name: str) -> None:
    with pytest.raises(Damaged):
        Repository.create(name, generate_keys(), NOW)
