"""Boxes are enrolled by a fingerprint once, and by their own signature ever after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lumen_box.errors import Damaged, LumenError, NotFound, Stale, Untrusted, UsageError
from lumen_box.publisher.enrol import enrol
from lumen_box.publisher.revoke import revoke
from lumen_box.publisher.workspace import Workspace
from lumen_box.sealed.fingerprint import Fingerprint
from lumen_box.sealed.recipient import RecipientKey

from .people import PASSPHRASE, Box, content


@pytest.fixture
def stranger() -> Box:
    return Box.new("Ward 8")


def test_a_new_box_needs_its_fingerprint_read_aloud(workspace: Workspace, folder: Path, stranger: Box) -> None:
    before = content(folder)
    with pytest.raises(UsageError, match="read aloud"):
        enrol(workspace, stranger.enrolment(), None)
    assert content(folder) == before
    spoken = Fingerprint.parse(stranger.fingerprint.words)
    assert enrol(workspace, stranger.enrolment(), spoken).box_id == stranger.fingerprint.hex
    assert workspace.box_id("Ward 8") == stranger.fingerprint.hex


def test_it_is_still_enrolled_the_next_time(folder: Path, box: Box) -> None:
    with Workspace.open(folder, PASSPHRASE) as opened:
        (enrolled,) = opened.enrolments().values()
    assert (enrolled.name, enrolled.recipient) == (box.name, box.recipient.public)


def test_another_fingerprint_is_refused(workspace: Workspace, folder: Path, box: Box, stranger: Box) -> None:
    before = content(folder)
    for given in (box, stranger):
        other = stranger if given is box else box
        with pytest.raises(Untrusted, match="fingerprint"):
            enrol(workspace, given.enrolment(2), other.fingerprint)
    assert content(folder) == before


def test_a_newer_enrolment_of_a_known_box_needs_no_fingerprint(workspace: Workspace, box: Box) -> None:
    fresh = with_new_key(box)
    assert enrol(workspace, fresh.enrolment(2), None).sequence == 2
    (enrolled,) = workspace.enrolments().values()
    assert enrolled.recipient == fresh.recipient.public
    assert len(list((workspace.folder / "files").iterdir())) == len(workspace.state.files)


def test_the_same_enrolment_again_changes_nothing(workspace: Workspace, folder: Path, box: Box) -> None:
    enrol(workspace, box.enrolment(7), None)
    (known,) = workspace.state.boxes.values()
    before = content(folder)
    enrol(workspace, workspace.file(known), None)
    assert content(folder) == before


def signed_by_a_thief(box: Box) -> bytes:
    """The box's identity in the payload, another's signature under it."""
    thief = Box.new(box.name)
    forged = replace(thief, identity=thief.identity).enrolment(9)
    return forged.replace(thief.identity.public.raw.hex().encode(), box.identity.public.raw.hex().encode())


def with_new_key(box: Box) -> Box:
    return replace(box, recipient=RecipientKey.generate())


REFUSED: list[tuple[str, Callable[[Box], bytes], type[LumenError]]] = [
    ("an older one", lambda box: box.enrolment(4), Stale),
    (
        "another one with the same number",
        lambda box: replace(box, recipient=RecipientKey.generate()).enrolment(5),
        Untrusted,
    ),
    ("another name with the same number", lambda box: replace(box, name="Ward 9").enrolment(5), Untrusted),
    ("signed by somebody else", signed_by_a_thief, Untrusted),
    ("cut short", lambda box: box.enrolment(6)[:-10], Damaged),
]


@pytest.mark.parametrize(("make", "error"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_a_known_box_did_not_say(
    workspace: Workspace, folder: Path, box: Box, make: Callable[[Box], bytes], error: type[LumenError]
) -> None:
    enrol(workspace, box.enrolment(5), None)
    before = content(folder)
    with pytest.raises(error) as caught:
        enrol(workspace, make(box), None)
    assert type(caught.value) is error
    assert content(folder) == before


def test_a_revoked_box_does_not_come_back(workspace: Workspace, box: Box) -> None:
    revoke(workspace, box="Ward 7")
    with pytest.raises(Untrusted, match="revoked"):
        enrol(workspace, box.enrolment(2), box.fingerprint)


def test_boxes_are_found_by_name_or_id(workspace: Workspace, box: Box) -> None:
    twin = Box.new("Ward 7")
    enrol(workspace, twin.enrolment(), twin.fingerprint)
    assert workspace.box_id(twin.fingerprint.hex) == twin.fingerprint.hex
    with pytest.raises(UsageError, match="Several"):
        workspace.box_id("Ward 7")
    for unknown in ("Ward 9", box.fingerprint.hex[:32], ""):
        with pytest.raises(NotFound):
            workspace.box_id(unknown)
