"""A role's metadata counts only with its own threshold of whole hybrid signatures."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from lumen_box.errors import Damaged, LumenError, Untrusted
from lumen_box.sealed.signatures import SIGNATURE
from lumen_box.trust.layout import ROLES
from lumen_box.trust.limits import MAX_SIGNATURES
from lumen_box.trust.publisher_id import canonical

from .conftest import World
from .simulator import Box, Medium, Publisher, key, keys, sealed, signature

ED25519 = 64
Signatures = list[dict[str, Any]]


def flipped(place: int) -> Callable[[str], str]:
    def flip(text: str) -> str:
        raw = bytearray.fromhex(text)
        raw[place] ^= 1
        return raw.hex()

    return flip


# What happens to the one signature of a role, and what the box says. Each must hold for every role.
SPOILED: dict[str, tuple[Callable[[str], str], type[LumenError]]] = {
    "first bit of the ML-DSA half": (flipped(0), Untrusted),
    "last bit of the ML-DSA half": (flipped(SIGNATURE - ED25519 - 1), Untrusted),
    "first bit of the Ed25519 half": (flipped(SIGNATURE - ED25519), Untrusted),
    "last bit of the Ed25519 half": (flipped(SIGNATURE - 1), Untrusted),
    "the ML-DSA half is missing": (lambda text: text[-2 * ED25519 :], Untrusted),
    "the Ed25519 half is missing": (lambda text: text[: -2 * ED25519], Untrusted),
    "the ML-DSA half is zero": (lambda text: "00" * (SIGNATURE - ED25519) + text[-2 * ED25519 :], Untrusted),
    "the Ed25519 half is zero": (lambda text: text[: -2 * ED25519] + "00" * ED25519, Untrusted),
    "the halves change places": (lambda text: text[-2 * ED25519 :] + text[: -2 * ED25519], Untrusted),
    "one byte more": (lambda text: text + "00", Untrusted),
    "nothing": (lambda text: "", Untrusted),
    "upper case": (str.upper, Damaged),
    "half a byte": (lambda text: text[:-1], Damaged),
    "not hexadecimal": (lambda text: "zz" + text[2:], Damaged),
    "too long to look at": (lambda text: text * 3, Damaged),
}


def with_signatures(world: World, role: str, edit: Callable[[Signatures], object]) -> Medium:
    """The medium with the signatures of a role edited, and all other signatures right."""
    medium = world.medium
    if role == "root":  # the newest root holds; the next one is the bad one
        medium = world.publisher.next_root(medium)
    envelope = json.loads(medium.file(role))
    edit(envelope["signatures"])
    return world.publisher.replaced(medium, role, json.dumps(envelope).encode())


def test_all_is_well_without_an_edit(world: World) -> None:
    for role in ROLES:
        accepted = world.box().read(with_signatures(world, role, lambda signatures: None))
        assert set(accepted.targets) == {
            "revocations.json",
            "models/clinical/1.0.0.json",
            "models/clinical/1.0.1.json",
            "software/lumen-box/1.1.0.json",
        }


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("what", SPOILED)
def test_a_spoiled_signature(world: World, role: str, what: str) -> None:
    spoil, expected = SPOILED[what]

    def edit(signatures: Signatures) -> None:
        for entry in signatures:
            entry["sig"] = spoil(entry["sig"])

    with pytest.raises(expected) as caught:
        world.box().read(with_signatures(world, role, edit))
    assert type(caught.value) is expected
    assert role in str(caught.value)


@pytest.mark.parametrize("role", ROLES)
def test_no_signature_at_all(world: World, role: str) -> None:
    with pytest.raises(Untrusted):
        world.box().read(with_signatures(world, role, list.clear))


@pytest.mark.parametrize("role", ROLES)
def test_a_signature_of_another_key_under_the_right_id(world: World, role: str) -> None:
    def edit(signatures: Signatures) -> None:
        stranger = signature(json.loads(world.medium.file(role))["signed"], key("stranger"))
        for entry in signatures:
            entry["sig"] = stranger["sig"]

    with pytest.raises(Untrusted):
        world.box().read(with_signatures(world, role, edit))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("other", [*ROLES, "stranger"])
def test_only_its_own_key_signs_a_role(world: World, role: str, other: str) -> None:
    """Every role signed by every other role's key: so also software by models, and models by software."""
    if role == other:
        return
    publisher, medium = world.publisher, world.medium
    signer = keys("stranger") if other == "stranger" else publisher.keys[other]
    with pytest.raises(Untrusted) as caught:
        if role == "root":
            world.box().read(publisher.next_root(medium, signers=signer))
        else:
            world.box().read(publisher.forged(medium, role, lambda signed: None, signers=signer))
    assert role in str(caught.value)


def test_a_signature_made_for_another_purpose_does_not_count(world: World) -> None:
    """The same key and the same bytes, signed under another context."""
    (signer,) = world.publisher.keys["timestamp"]
    message = canonical(world.medium.signed("timestamp"))

    def edit(signatures: Signatures) -> None:
        signatures[0]["sig"] = signer.sign(message, b"lumen-box/enrolment/v1").hex()

    with pytest.raises(Untrusted):
        world.box().read(with_signatures(world, "timestamp", edit))


def test_two_signatures_under_one_id(world: World) -> None:
    with pytest.raises(Damaged):
        world.box().read(with_signatures(world, "models", lambda signatures: signatures.append(signatures[0])))


def test_more_signatures_than_anybody_needs(world: World) -> None:
    def strangers(count: int) -> Callable[[Signatures], None]:
        return lambda signatures: signatures.extend({"keyid": f"{n:064x}", "sig": "00"} for n in range(count))

    assert world.box().read(with_signatures(world, "models", strangers(MAX_SIGNATURES - 1)))
    with pytest.raises(Damaged):
        world.box().read(with_signatures(world, "models", strangers(MAX_SIGNATURES)))


# Threshold, the keys of the role, who signs, whether that is enough.
THRESHOLDS = [
    (1, "a b c", "a", True),
    (2, "a b c", "a", False),
    (2, "a b c", "a c", True),
    (2, "a b c", "c b a", True),
    (2, "a b c", "a x", False),
    (2, "a b c", "a x y z", False),
    (3, "a b c", "a b", False),
    (3, "a b c", "a b c", True),
    (3, "a b c", "a b c x", True),
]


@pytest.mark.parametrize(("threshold", "owned", "signing", "enough"), THRESHOLDS)
@pytest.mark.parametrize("role", ["timestamp", "models"])
def test_thresholds(role: str, threshold: int, owned: str, signing: str, enough: bool) -> None:
    publisher = Publisher()
    publisher.keys[role] = keys(*owned.split())
    publisher.repository.rotate(role, publisher.keys[role], threshold=threshold)
    medium = publisher.forged(
        publisher.export("clinical/1.0.0"), role, lambda signed: None, signers=keys(*signing.split())
    )
    if enough:
        assert Box(publisher.first_root).read(medium)
    else:
        with pytest.raises(Untrusted):
            Box(publisher.first_root).read(medium)


# Who signs the second root, where the first root's keys are (a, b) of which two are needed, and the second's (c, d).
ROTATIONS = [("a b c d", True), ("d c b a x", True), ("a b", False), ("c d", False), ("a c", False), ("a b c", False)]


@pytest.mark.parametrize(("signing", "enough"), ROTATIONS)
def test_a_new_root_needs_the_old_keys_and_the_new(signing: str, enough: bool) -> None:
    publisher = Publisher(keys={role: keys(role) for role in ROLES} | {"root": keys("a", "b")}, thresholds={"root": 2})
    before = publisher.export()
    publisher.repository.rotate("root", keys("c", "d"))
    medium = publisher.export()
    medium.metadata["2.root.json"] = sealed(medium.signed("root"), keys(*signing.split()))
    assert Box(publisher.first_root).read(before).observed.roles["root"].version == 1
    if enough:
        assert Box(publisher.first_root).read(medium).observed.roles["root"].version == 2
    else:
        with pytest.raises(Untrusted):
            Box(publisher.first_root).read(medium)
