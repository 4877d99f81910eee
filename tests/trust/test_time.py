"""Expiry, with the wall clock right, set back and set forward."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lumen_box.clock import stamp
from lumen_box.errors import Expired, Stale
from lumen_box.trust.floors import Floors
from lumen_box.trust.layout import LIFETIME, ROLES
from lumen_box.trust.time import trusted_now

from .simulator import DAY, NOW, Box, Medium, Publisher

BUILD = NOW - 100 * DAY
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
FAR = datetime(2099, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wall", "signed", "expected"),
    [
        (NOW, [], NOW),
        (NOW, [NOW - DAY], NOW),
        (LONG_AGO, [], BUILD),
        (LONG_AGO, [NOW - DAY, NOW - 2 * DAY], NOW - DAY),
        (LONG_AGO, [BUILD - DAY], BUILD),
        (FAR, [NOW], FAR),
    ],
)
def test_trusted_now(wall: datetime, signed: list[datetime], expected: datetime) -> None:
    assert trusted_now(wall, BUILD, signed) == expected


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("late", "expired"), [(-timedelta(seconds=1), False), (timedelta(0), True), (DAY, True)])
def test_each_role_expires_by_itself(role: str, late: timedelta, expired: bool) -> None:
    publisher = Publisher()
    medium = publisher.export("clinical/1.0.0")
    ends = NOW + 30 * DAY
    if role == "root":
        medium = publisher.next_root(medium, lambda signed: signed.update(expires=stamp(ends)))
    else:
        medium = publisher.forged(medium, role, lambda signed: signed.update(expires=stamp(ends)))
    box = Box(publisher.first_root, now=ends + late)
    if not expired:
        assert box.read(medium).expired == ()
        return
    with pytest.raises(Expired) as caught:
        box.read(medium)
    assert role in str(caught.value)
    assert caught.value.exit_code == 21
    assert box.read(medium, allow_expired=True).expired == (role,)


def test_a_root_that_expired_since_is_no_hindrance_to_the_next() -> None:
    publisher = Publisher()
    publisher.export()
    medium = publisher.export(after=LIFETIME["root"] + DAY)
    assert "2.root.json" in medium.metadata
    assert Box(publisher.first_root, now=publisher.moment).read(medium).expired == ()


@pytest.fixture(scope="module")
def old_and_new() -> tuple[Publisher, Medium, Medium]:
    """Two exports, the second when the first had expired long since."""
    publisher = Publisher()
    old = publisher.export("clinical/1.0.0")
    return publisher, old, publisher.export("clinical/1.0.1", after=2 * LIFETIME["timestamp"])


def test_the_clock_set_back_does_not_bring_expired_media_back(old_and_new: tuple[Publisher, Medium, Medium]) -> None:
    """Also to a box without floors: what it accepted says how late it is."""
    publisher, old, new = old_and_new
    box = Box(publisher.first_root, now=publisher.moment)
    box.install(new)
    attested = box.floors.signed_at
    assert attested == publisher.moment
    with pytest.raises(Stale):
        box.read(old)
    box.known, box.floors = {}, Floors()
    box.now = trusted_now(NOW, BUILD, [attested])
    with pytest.raises(Expired):
        box.read(old)
    box.now = NOW  # a box that has forgotten everything, with its clock set back, cannot know
    assert box.read(old)


def test_the_clock_set_back_does_not_stop_new_media(old_and_new: tuple[Publisher, Medium, Medium]) -> None:
    publisher, _, new = old_and_new
    assert Box(publisher.first_root, now=LONG_AGO).read(new).signed_at == publisher.moment


def test_a_medium_attests_its_own_time() -> None:
    """A timestamp signed after the models expired shows that they have, whatever the wall clock says."""
    publisher = Publisher()
    medium = publisher.export("clinical/1.0.0")
    medium = publisher.forged(medium, "models", lambda signed: signed.update(expires=stamp(NOW + DAY)))
    box = Box(publisher.first_root, now=LONG_AGO)
    assert box.read(medium)
    later = publisher.forged(medium, "timestamp", lambda signed: signed.update(signed_at=stamp(NOW + 2 * DAY)))
    with pytest.raises(Expired, match="models"):
        box.read(later)


def test_the_clock_set_forward_does_no_lasting_harm(old_and_new: tuple[Publisher, Medium, Medium]) -> None:
    publisher, old, _ = old_and_new
    box = Box(publisher.first_root, now=FAR)
    before = (box.known, box.floors)
    with pytest.raises(Expired):
        box.install(old)
    assert (box.known, box.floors) == before
    box.now = NOW
    box.install(old)
    assert box.floors.signed_at == NOW
    assert trusted_now(NOW, BUILD, [box.floors.signed_at]) == NOW


def test_what_was_accepted_and_has_expired_still_counts_against_older(
    old_and_new: tuple[Publisher, Medium, Medium],
) -> None:
    publisher, old, new = old_and_new
    box = Box(publisher.first_root, now=publisher.moment)
    box.install(new)
    box.now, box.floors = FAR, Floors()
    with pytest.raises(Stale):
        box.read(old)
    with pytest.raises(Stale):
        box.read(old, allow_expired=True)
    with pytest.raises(Expired):
        box.read(new)
    assert box.read(new, allow_expired=True).expired == ROLES


def test_an_override_is_no_override_of_anything_else(old_and_new: tuple[Publisher, Medium, Medium]) -> None:
    publisher, old, new = old_and_new
    box = Box(publisher.first_root, now=publisher.moment)
    box.install(new)
    box.known = {}
    with pytest.raises(Stale, match="is version 1, and version 2 was accepted"):
        box.read(old, allow_expired=True)


@pytest.mark.parametrize("year", [2001, 2090])
def test_the_clock_of_this_machine_is_never_asked(year: int) -> None:
    publisher = Publisher(moment=NOW.replace(year=year))
    medium = publisher.export("clinical/1.0.0")
    assert Box(publisher.first_root, now=publisher.moment).read(medium).expired == ()
    with pytest.raises(Expired):
        Box(publisher.first_root, now=publisher.moment + LIFETIME["timestamp"]).read(medium)
