"""What a publisher takes back, and who hears of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from lumen_box.errors import Damaged, LumenError, Stale, TooNew, Untrusted
from lumen_box.trust.limits import MAX_REVOCATIONS
from lumen_box.trust.revocations import Revocation, Revocations

from .simulator import DAY, Box, Publisher

BUNDLE, OBJECT, BOX = "models/clinical/1.0.0.json", "0a" * 16, "0b" * 32
LIST = (
    Revocations()
    .adding(bundles=[BUNDLE], reason="Wrong doses.")
    .adding(objects=[OBJECT], stop=True, reason="Key lost.")
    .adding(boxes=[BOX])
)


def test_a_list_survives_being_written() -> None:
    for revocations in (Revocations(), LIST):
        assert Revocations.parse(revocations.to_bytes()) == revocations


def test_the_bytes_are_exactly_these() -> None:
    assert json.loads(LIST.to_bytes()) == {
        "format": 1,
        "bundles": [{"path": BUNDLE, "reason": "Wrong doses.", "stop": False}],
        "objects": [{"id": OBJECT, "reason": "Key lost.", "stop": True}],
        "boxes": [{"id": BOX, "reason": "", "stop": False}],
    }


def test_what_applies() -> None:
    assert LIST.find(path=BUNDLE) == Revocation(False, "Wrong doses.")
    assert LIST.find(path=BUNDLE, objects=["0c" * 16, OBJECT]) == Revocation(True, "Key lost.")
    assert LIST.find(box=BOX) == Revocation()
    assert LIST.find(path="models/clinical/1.0.1.json", objects=["0c" * 16], box="0d" * 32) is None
    assert LIST.find() is None


def test_a_revoked_thing_is_refused_with_the_publishers_reason() -> None:
    LIST.refuse(path="models/clinical/1.0.1.json", objects=["0c" * 16], box="0d" * 32)
    with pytest.raises(Untrusted, match=r"has revoked clinical@1\.0\.0\..*Wrong doses\."):
        LIST.refuse(path=BUNDLE)
    with pytest.raises(Untrusted, match="has revoked this box"):
        LIST.refuse(path="models/clinical/1.0.1.json", box=BOX)


def test_revoking_again_never_lets_go() -> None:
    stopped = LIST.adding(objects=[OBJECT], reason="Again.")
    assert stopped.objects[OBJECT] == Revocation(True, "Again.")
    assert LIST.adding(bundles=[BUNDLE], stop=True).bundles[BUNDLE].stop


def first(name: str, **new: object) -> Callable[[dict[str, Any]], None]:
    return lambda value: value[name][0].update(new)


BAD: dict[str, tuple[Callable[[dict[str, Any]], object], type[LumenError]]] = {
    "another format": (lambda value: value.update(format=2), TooNew),
    "format true": (lambda value: value.update(format=True), Damaged),
    "one more kind": (lambda value: value.update(people=[]), TooNew),
    "one kind less": (lambda value: value.pop("boxes"), Damaged),
    "one more field": (first("bundles", until="2030"), TooNew),
    "stop is a number": (first("bundles", stop=1), Damaged),
    "no stop": (lambda value: value["bundles"][0].pop("stop"), Damaged),
    "a reason with a line break": (first("bundles", reason="a\nb"), Damaged),
    "a reason written backwards": (first("bundles", reason="\u202e"), Damaged),
    "a very long reason": (first("bundles", reason="x" * 201), Damaged),
    "a path with ..": (first("bundles", path="models/../x.json"), Damaged),
    "a path in another case": (first("bundles", path="models/X/1.json"), Damaged),
    "the list itself": (first("bundles", path="revocations.json"), Damaged),
    "half an object id": (first("objects", id="0a" * 8), Damaged),
    "an object id in upper case": (first("objects", id="0A" * 16), Damaged),
    "half a box id": (first("boxes", id="0b" * 16), Damaged),
    "something twice": (lambda value: value["objects"].append(value["objects"][0]), Damaged),
    "an entry that is text": (lambda value: value["objects"].append(OBJECT), Damaged),
    "bundles is an object": (lambda value: value.update(bundles={}), Damaged),
    "too many": (
        lambda value: value.update(
            objects=[{"id": f"{n:032x}", "reason": "", "stop": False} for n in range(MAX_REVOCATIONS + 1)]
        ),
        Damaged,
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_lists(what: str) -> None:
    edit, expected = BAD[what]
    value = json.loads(LIST.to_bytes())
    edit(value)
    with pytest.raises(expected) as caught:
        Revocations.parse(json.dumps(value).encode())
    assert type(caught.value) is expected


def test_what_cannot_be_read_cannot_be_written() -> None:
    for bad in (
        Revocations().adding(objects=["x"]),
        Revocations().adding(bundles=["models/x"]),
        LIST.adding(boxes=[""]),
    ):
        with pytest.raises(Damaged):
            bad.to_bytes()


def test_a_list_comes_with_the_next_medium_and_never_goes_back() -> None:
    publisher = Publisher()
    before = publisher.export("clinical/1.0.0")
    publisher.repository.revoke(LIST)
    after = publisher.export(after=DAY)
    box = Box(publisher.first_root)
    assert box.install(before).revocations == Revocations()
    assert box.install(after).revocations == LIST
    box.known = {}
    with pytest.raises(Stale):
        box.install(before)
    old_list = after.copy()
    old_list.revocations = before.revocations
    with pytest.raises(Damaged):
        box.install(old_list)


def test_a_signed_list_that_is_malformed() -> None:
    publisher = Publisher()
    publisher.repository._revocations = b'{"format": 1}'
    publisher.repository._list("revocations.json", b'{"format": 1}')
    with pytest.raises(Damaged, match="list of revocations"):
        publisher.export()
