"""What may count as a key: one composite suite, under the one id that is its fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import KEY_FOR_TYPE_AND_SCHEME, Signature  # type: ignore[attr-defined]

from lumen_box.errors import Damaged, LumenError, TooNew, Untrusted
from lumen_box.trust.keys import KEYTYPE, CompositeKey, CompositeSigner, register
from lumen_box.trust.session import accept

from .conftest import World
from .simulator import NOW, Box, Edit, Publisher, key, keys, sealed

ALIAS = "ab" * 32


def change(**new: object) -> Callable[[dict[str, Any]], None]:
    return lambda entry: entry.update(new)


def public(edit: Callable[[str], str]) -> Callable[[dict[str, Any]], None]:
    return lambda entry: entry["keyval"].update(public=edit(entry["keyval"]["public"]))


# What is done to the entry of a key, and what the box says.
ENTRIES: dict[str, tuple[Callable[[dict[str, Any]], object], type[LumenError]]] = {
    "unknown key type": (change(keytype="lumen-composite-2"), TooNew),
    "unknown suite": (change(scheme="mldsa87-ed448-shake256"), TooNew),
    "TUF's own Ed25519": (change(keytype="ed25519", scheme="ed25519", keyval={"public": "00" * 32}), TooNew),
    "TUF's own ML-DSA": (change(keytype="ml-dsa", scheme="ml-dsa-65/1"), TooNew),
    "suite is a list": (change(scheme=["mldsa65-ed25519-sha512"]), Damaged),
    "no suite": (lambda entry: entry.pop("scheme"), Damaged),
    "one more field": (change(note="x"), TooNew),
    "one more field in the value": (lambda entry: entry["keyval"].update(pem="x"), TooNew),
    "no value": (change(keyval={}), Damaged),
    "value is text": (change(keyval="00"), Damaged),
    "upper case": (public(str.upper), Damaged),
    "the Ed25519 half is missing": (public(lambda text: text[:-64]), Damaged),
    "the ML-DSA half is missing": (public(lambda text: text[-64:]), Damaged),
    "one byte more": (public(lambda text: text + "00"), Damaged),
    "another key": (public(lambda text: key("another").public.raw.hex()), Untrusted),
    "one bit of it": (public(lambda text: "00" + text[2:] if text[:2] != "00" else "01" + text[2:]), Untrusted),
    "another spelling of the Ed25519 half": (public(lambda text: text[:-64] + "ee" + "ff" * 30 + "7f"), Damaged),
}


def in_root(edit: Callable[[dict[str, Any]], object]) -> Edit:
    return lambda signed: edit(signed["keys"][signed["roles"]["timestamp"]["keyids"][0]])


def in_targets(edit: Callable[[dict[str, Any]], object]) -> Edit:
    return lambda signed: edit(signed["delegations"]["keys"][signed["delegations"]["roles"][0]["keyids"][0]])


@pytest.mark.parametrize("what", ENTRIES)
def test_the_entry_of_a_key(world: World, what: str) -> None:
    edit, expected = ENTRIES[what]
    for medium in (
        world.publisher.next_root(world.medium, in_root(edit)),
        world.publisher.forged(world.medium, "targets", in_targets(edit)),
    ):
        with pytest.raises(expected) as caught:
            world.box().read(medium)
        assert type(caught.value) is expected


@pytest.mark.parametrize("what", ENTRIES)
def test_the_entry_of_a_key_in_the_pinned_root(what: str) -> None:
    edit, expected = ENTRIES[what]
    publisher = Publisher()
    medium = publisher.export()
    signed = medium.signed("root")
    in_root(edit)(signed)
    with pytest.raises(expected):
        Box(sealed(signed, publisher.keys["root"])).read(medium)


def test_one_key_under_two_ids_does_not_reach_a_threshold_of_two() -> None:
    """TUF alone would count it twice: a role with a threshold of two, one key, and two ids for it."""
    publisher = Publisher()
    medium = publisher.export("clinical/1.0.0")

    def twice(signed: dict[str, Any]) -> None:
        role = signed["roles"]["timestamp"]
        signed["keys"][ALIAS] = signed["keys"][role["keyids"][0]]
        role.update(keyids=[*role["keyids"], ALIAS], threshold=2)

    with pytest.raises(Untrusted, match="one key could count as two"):
        Box(publisher.first_root).read(publisher.next_root(medium, twice))


ROLES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a key twice": lambda role: role.update(keyids=role["keyids"] * 2),
    "no key": lambda role: role.update(keyids=[]),
    "a key that is not there": lambda role: role.update(keyids=[ALIAS]),
    "an id that is a number": lambda role: role.update(keyids=[7]),
    "an id that is a list": lambda role: role.update(keyids=[[]]),
    "an id in upper case": lambda role: role.update(keyids=[role["keyids"][0].upper()]),
    "more keys than anybody needs": lambda role: role.update(keyids=[f"{number:064x}" for number in range(17)]),
    "a threshold of zero": lambda role: role.update(threshold=0),
    "a threshold below zero": lambda role: role.update(threshold=-1),
    "a threshold beyond its keys": lambda role: role.update(threshold=2),
    "a threshold that is true": lambda role: role.update(threshold=True),
    "a threshold in text": lambda role: role.update(threshold="1"),
}


@pytest.mark.parametrize("what", ROLES)
def test_the_entry_of_a_role(world: World, what: str) -> None:
    edit = ROLES[what]
    for medium in (
        world.publisher.next_root(world.medium, lambda signed: edit(signed["roles"]["snapshot"])),
        world.publisher.forged(world.medium, "targets", lambda signed: edit(signed["delegations"]["roles"][1])),
    ):
        with pytest.raises(Damaged):
            world.box().read(medium)


def test_a_key_that_no_role_uses(world: World) -> None:
    other = CompositeKey(key("unused").public)

    def edit(signed: dict[str, Any]) -> None:
        signed["keys"][other.keyid] = other.to_dict()

    with pytest.raises(Damaged, match="not exactly those that the roles use"):
        world.box().read(world.publisher.next_root(world.medium, edit))


def test_a_pinned_root_must_be_signed_by_itself(world: World) -> None:
    signed = world.medium.signed("root")
    with pytest.raises(Untrusted):
        accept(
            pinned_root=sealed(signed, keys("stranger")),
            known={},
            fetch=world.medium.metadata.get,
            fetch_target=lambda path, digest: None,
            now=NOW,
        )


def test_a_signer_makes_what_its_key_takes() -> None:
    signer = CompositeSigner(key("a"))
    made = signer.sign(b"payload")
    signer.public_key.verify_signature(made, b"payload")
    assert made.keyid == signer.public_key.keyid == key("a").public.fingerprint.hex
    for data, text in [(b"Payload", made.signature), (b"payload", made.signature[2:]), (b"payload", "zz"), (b"", "")]:
        with pytest.raises(UnverifiedSignatureError):
            signer.public_key.verify_signature(Signature(made.keyid, text), data)


def test_a_key_survives_the_way_through_tufs_form() -> None:
    made = CompositeKey(key("a").public)
    assert CompositeKey.from_dict(made.keyid, made.to_dict()) == made


def test_registering_twice_is_harmless() -> None:
    register()
    register()
    assert KEY_FOR_TYPE_AND_SCHEME[(KEYTYPE, CompositeKey(key("a").public).scheme)] is CompositeKey
