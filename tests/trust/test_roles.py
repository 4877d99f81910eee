"""Who may list what: each role its own paths, and no other path exists."""

from __future__ import annotations

from typing import Any

import pytest

from lumen_box.errors import Damaged, LumenError, NotFound, TooNew, Untrusted
from lumen_box.trust.layout import TargetPath, parse_metadata_name
from lumen_box.trust.limits import MAX_TARGETS

from .conftest import World
from .simulator import Edit

FILE = {"length": 1, "hashes": {"sha256": "0" * 64}}
WRONG_ROLE = [
    ("models", "software/lumen-box/9.0.0.json"),
    ("models", "revocations.json"),
    ("software", "models/clinical/9.0.0.json"),
    ("software", "revocations.json"),
    ("targets", "models/clinical/9.0.0.json"),
    ("targets", "software/lumen-box/9.0.0.json"),
]
NO_PATH = [
    "",
    "/",
    "models",
    "models/x.json",
    "models/x/y",
    "models/x/y.json/",
    "models//x/y.json",
    "/models/x/y.json",
    "models/x/y/z.json",
    "models/../x.json",
    "models/../../x.json",
    "../models/x/y.json",
    "models/x/../y.json",
    "models/./y.json",
    "models/x/.json",
    "models/x/..json",
    "models/.x/y.json",
    "models/-x/y.json",
    "models/x..y/z.json",
    "models/x/1...json",
    "Models/x/y.json",
    "models/X/y.json",
    "models/x/Y.json",
    "models/x/y.JSON",
    "models/x\0/y.json",
    "models/x/y\n.json",
    "models/x/y.json\n",
    "models/x/y.json\0",
    "models/x\x7f/y.json",
    "models/x y/z.json",
    "models\\x\\y.json",
    "models/x/%2e%2e.json",
    "models/é/y.json",
    "models/ｘ/y.json",
    "models/" + "x" * 65 + "/y.json",
    "models/x/" + "y" * 65 + ".json",
    "models/x/" + "../" * 4000 + "y.json",
    "mirrors/x/y.json",
    "Revocations.json",
    "./revocations.json",
    "revocations.json/",
]


@pytest.mark.parametrize(("role", "path"), WRONG_ROLE)
def test_a_path_of_another_role(world: World, role: str, path: str) -> None:
    """Signed by the right key of the wrong role; first of all ``software`` by ``models``."""
    medium = world.publisher.forged(world.medium, role, lambda signed: signed["targets"].update({path: FILE}))
    with pytest.raises(Untrusted, match=f"The role {role} lists '{path}'"):
        world.box().read(medium)


@pytest.mark.parametrize("role", ["models", "targets"])
@pytest.mark.parametrize("path", NO_PATH, ids=lambda path: ascii(path[:40]))
def test_a_path_that_cannot_be(world: World, role: str, path: str) -> None:
    medium = world.publisher.forged(world.medium, role, lambda signed: signed["targets"].update({path: FILE}))
    with pytest.raises(Damaged, match="a path that cannot be"):
        world.box().read(medium)


@pytest.mark.parametrize(
    "path",
    ["models/clinical/1.0.0.json", "models/a/b.json", "software/x_y-z.1/" + "0" * 64 + ".json", "revocations.json"],
)
def test_a_path_survives_being_read(path: str) -> None:
    assert str(TargetPath.parse(path)) == path


def delegation(index: int, **new: object) -> Edit:
    return lambda signed: signed["delegations"]["roles"][index].update(new)


DELEGATIONS: dict[str, tuple[Edit, type[LumenError]]] = {
    "models gets software": (delegation(0, paths=["software/*/*.json"]), Untrusted),
    "models gets software too": (delegation(0, paths=["models/*/*.json", "software/*/*.json"]), Untrusted),
    "models gets all": (delegation(0, paths=["*/*/*"]), Untrusted),
    "models gets the revocations": (delegation(0, paths=["revocations.json"]), Untrusted),
    "models gets nothing": (delegation(0, paths=[]), Untrusted),
    "models does not end the search": (delegation(0, terminating=False), Untrusted),
    "by hashes of paths": (delegation(0, path_hash_prefixes=["0"]), TooNew),
    "another role": (delegation(0, name="mirrors"), TooNew),
    "a top-level role": (delegation(0, name="root"), TooNew),
    "a name that is a list": (delegation(0, name=["models"]), TooNew),
    "models twice": (delegation(1, name="models"), Damaged),
    "one role more": (lambda s: s["delegations"]["roles"].append(dict(s["delegations"]["roles"][0])), TooNew),
    "one role less": (lambda s: s["delegations"]["roles"].pop(), Damaged),
    "the other way round": (lambda s: s["delegations"]["roles"].reverse(), Damaged),
    "in bins": (lambda s: s["delegations"].update(succinct_roles={}), TooNew),
    "none": (lambda s: s.pop("delegations"), Damaged),
    "null": (lambda s: s.update(delegations=None), Damaged),
    "roles that are text": (lambda s: s["delegations"].update(roles="models"), Damaged),
}


@pytest.mark.parametrize("what", DELEGATIONS)
def test_delegations(world: World, what: str) -> None:
    edit, expected = DELEGATIONS[what]
    with pytest.raises(expected) as caught:
        world.box().read(world.publisher.forged(world.medium, "targets", edit))
    assert type(caught.value) is expected


@pytest.mark.parametrize("role", ["models", "software"])
def test_a_delegated_role_delegates_nothing(world: World, role: str) -> None:
    passed_on = world.medium.signed("targets")["delegations"]
    medium = world.publisher.forged(world.medium, role, lambda signed: signed.update(delegations=passed_on))
    with pytest.raises(TooNew):
        world.box().read(medium)


def test_no_revocations(world: World) -> None:
    medium = world.publisher.forged(world.medium, "targets", lambda signed: signed["targets"].clear())
    with pytest.raises(Damaged, match=r"does not list revocations\.json"):
        world.box().read(medium)


def test_more_targets_than_anybody_needs(world: World) -> None:
    def edit(signed: dict[str, Any]) -> None:
        signed["targets"] = {f"models/x/{number}.json": FILE for number in range(MAX_TARGETS + 1)}

    with pytest.raises(Damaged, match=f"more than {MAX_TARGETS} targets"):
        world.box().read(world.publisher.forged(world.medium, "models", edit))


def test_only_the_signed_bytes_of_a_target_are_taken(world: World) -> None:
    accepted = world.box().read(world.medium)
    path = "models/clinical/1.0.1.json"
    assert accepted.verified(path, b"clinical/1.0.1") == b"clinical/1.0.1"
    for data in (None, b"", b"clinical/1.0.0", b"clinical/1.0.1\n"):
        with pytest.raises(Damaged):
            accepted.verified(path, data)
    for other in ("models/clinical/1.0.2.json", "../x", "metadata/1.root.json"):
        with pytest.raises(NotFound):
            accepted.verified(other, b"")


@pytest.mark.parametrize(
    "name", ["root.json", "0.root.json", "01.root.json", "-1.root.json", "1.timestamp.json", "1.mirrors.json", "1.root"]
)
def test_names_of_metadata_that_cannot_be(name: str) -> None:
    with pytest.raises(Damaged):
        parse_metadata_name(name)
