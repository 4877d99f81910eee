"""Writing media: whole or as before, over several where needed, and never outside of the medium."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lumen_box.atomic import Disk
from lumen_box.bundle.medium import Medium
from lumen_box.bundle.writer import Carried, Export, plan, write_medium
from lumen_box.errors import Damaged, NoSpace, UsageError
from lumen_box.progress import Advance, Event, silent
from tests.support.crash import fail_everywhere, lose_everywhere, stop_everywhere

from .sticks import PUBLISHER, TARGET, TARGET_SHA256, Stick, sealed

SMALL = 7 * 4096  # two metadata files, a target and four recipients, each in one block
PART = 13 * 4096  # a part of three segments of 16,400 bytes, in whole blocks


def write(where: Path, export: Export, disk: Disk | None = None) -> None:
    (parts,) = plan(export, None)
    write_medium(where, export, parts, disk or Disk(), silent)


def content(where: Path) -> dict[str, bytes]:
    return {str(path.relative_to(where)): path.read_bytes() for path in where.rglob("*") if path.is_file()}


def newer(stick: Stick, folder: Path) -> Export:
    """The next export: one object less, another more, one target replaced, everything signed again."""
    third = sealed(folder / "z", 40000)
    carried = [stick.export.objects[1], Carried(third.stored, third.folder, {"cd" * 32: b"sealed"})]
    metadata = {"1.root.json": b"root", "2.root.json": b"root 2", "timestamp.json": b"time 2"}
    return Export(PUBLISHER, metadata, {f"models/clinical/{'0' * 64}.2.json": b"{}"}, carried)


def test_every_file_can_be_read_by_others_whatever_the_umask(stick: Stick, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write(tmp_path / "new", stick.export)
    finally:
        os.umask(before)
    for path in (tmp_path / "new", *(tmp_path / "new").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path


def test_writing_again_changes_nothing(stick: Stick) -> None:
    def seen() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in stick.where.rglob("*")}

    before = seen()
    write(stick.where, stick.export)
    assert {path: info for path, info in seen().items() if path.is_file()} == {
        path: info for path, info in before.items() if path.is_file()
    }


def test_a_new_export_takes_the_place_of_the_old_one(stick: Stick, tmp_path: Path) -> None:
    export = newer(stick, tmp_path)
    write(stick.where, export)
    write(tmp_path / "fresh", export)
    assert content(stick.where) == content(tmp_path / "fresh")
    assert not stick.part(1, 0).parent.exists()


def test_what_is_not_ours_stays(stick: Stick, tmp_path: Path) -> None:
    other = stick.root.parent / ("ef" * 32) / "metadata" / "timestamp.json"
    other.parent.mkdir(parents=True)
    notes = [stick.where / "holiday.jpg", stick.root / "objects" / "notes.txt", other]
    for note in notes:
        note.write_text("mine")
    write(stick.where, newer(stick, tmp_path))
    assert [note.read_text() for note in notes] == ["mine"] * 3


@pytest.mark.parametrize("spoil", [b"", b"short", bytes(49256)])
def test_a_damaged_part_is_written_again(stick: Stick, spoil: bytes) -> None:
    before = stick.part(2).read_bytes()
    stick.part(2).write_bytes(spoil)
    write(stick.where, stick.export)
    assert stick.part(2).read_bytes() == before


def test_a_damaged_copy_of_the_publisher_is_not_carried(stick: Stick, tmp_path: Path) -> None:
    item = sealed(tmp_path / "broken")
    part = item.folder / "part-0002"
    part.write_bytes(part.read_bytes()[:-1] + b"\0")
    export = replace(stick.export, objects=[Carried(item.stored, item.folder, {})])
    with pytest.raises(Damaged, match="publisher's own copy"):
        write(tmp_path / "usb2", export)
    folder = tmp_path / "usb2" / "lumen-medium" / "v1" / PUBLISHER / "objects" / item.stored.id
    assert sorted(path.name for path in folder.iterdir()) == ["part-0001", "recipients"]


PLACES = ["lumen-medium", "lumen-medium/v1", f"lumen-medium/v1/{PUBLISHER}", f"lumen-medium/v1/{PUBLISHER}/objects"]


@pytest.mark.parametrize("place", PLACES)
def test_a_link_on_the_medium_leads_nowhere(stick: Stick, tmp_path: Path, place: str) -> None:
    """A prepared stick must not make the publisher write to, or clear away, its own folders."""
    home = tmp_path / "home"
    (home / "0123").mkdir(parents=True)
    (home / "0123" / "part-0001").write_text("precious")
    usb = tmp_path / "prepared" / place
    usb.parent.mkdir(parents=True)
    usb.symlink_to(home)
    with pytest.raises(UsageError, match="links are not followed"):
        write(tmp_path / "prepared", stick.export)
    assert content(home) == {"0123/part-0001": b"precious"}


def test_an_interrupted_copy_leaves_no_file_and_goes_on(stick: Stick, tmp_path: Path) -> None:
    seen = 0

    def interrupt(event: Event) -> None:
        nonlocal seen
        seen += isinstance(event, Advance)
        if seen == 5:
            raise KeyboardInterrupt

    (parts,) = plan(stick.export, None)
    with pytest.raises(KeyboardInterrupt):
        write_medium(tmp_path / "usb2", stick.export, parts, Disk(), interrupt)
    left = [path.name for path in (tmp_path / "usb2").rglob("*") if path.is_file()]
    assert left == ["part-0001"]
    write(tmp_path / "usb2", stick.export)
    assert content(tmp_path / "usb2") == content(stick.where)


def test_progress_ends_at_the_whole(stick: Stick, tmp_path: Path) -> None:
    events: list[Event] = []
    (parts,) = plan(stick.export, None)
    write_medium(tmp_path / "usb2", stick.export, parts, Disk(), events.append)
    last = events[-1]
    assert isinstance(last, Advance) and last.done == last.total == sum(part.size for part in parts)


@pytest.mark.parametrize(
    ("capacity", "sizes"),
    [
        (None, [6]),
        (1_000_000, [6]),
        (SMALL + 3 * PART, [3, 3]),
        (SMALL + 2 * PART, [2, 2, 2]),
        (SMALL + PART, [1] * 6),
    ],
)
def test_media_are_filled_in_order(stick: Stick, capacity: int | None, sizes: list[int]) -> None:
    media = plan(stick.export, capacity)
    assert [len(parts) for parts in media] == sizes
    assert [part for parts in media for part in parts] == stick.export.parts()


def test_a_medium_too_small_for_one_part_is_refused(stick: Stick) -> None:
    with pytest.raises(UsageError, match="too small"):
        plan(stick.export, SMALL + PART - 1)


def test_an_export_without_objects_still_takes_a_medium(stick: Stick) -> None:
    assert plan(replace(stick.export, objects=[]), 1_000_000) == [[]]


def test_several_media_together_carry_everything(stick: Stick, tmp_path: Path) -> None:
    media = plan(stick.export, SMALL + 2 * PART)
    together: dict[str, bytes] = {}
    for number, parts in enumerate(media):
        where = tmp_path / f"m{number}"
        write_medium(where, stick.export, parts, Disk(), silent)
        with Medium.open(where) as medium:
            assert medium.fetch_metadata(PUBLISHER, "timestamp.json") == b"time"
            assert medium.target(PUBLISHER, TARGET[0], TARGET_SHA256) == TARGET[1]
        assert sum(path.stat().st_size for path in where.rglob("*") if path.is_file()) <= SMALL + 2 * PART
        together |= content(where)
    assert together == content(stick.where)


def test_a_medium_without_room_is_refused_before_anything_is_copied(
    stick: Stick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = os.statvfs(tmp_path)
    told = os.statvfs_result([*full[:4], 3, *full[5:]])
    monkeypatch.setattr(os, "statvfs", lambda path: told)
    with pytest.raises(NoSpace, match="--medium-size"):
        write(tmp_path / "usb2", stick.export)
    assert content(tmp_path / "usb2") == {}


def old_or_new(stick: Stick, export: Export) -> Callable[[Path], None]:
    """A pulled stick still holds the old export, or already the new one; and writing again finishes the new one."""

    def check(where: Path) -> None:
        root = where / "lumen-medium" / "v1" / PUBLISHER
        now = stick.export if (root / "metadata" / "timestamp.json").read_bytes() == b"time" else export
        for path, data in now.small_files():
            assert (root / path).read_bytes() == data
        with Medium.open(where) as medium:
            for carried in now.objects:
                assert sum(len(data) for _, data in medium.segments(PUBLISHER, carried.stored)) > 0
        write(where, export)
        assert {path for path in content(where) if "/." in path} == set()
        assert {path.removeprefix(f"lumen-medium/v1/{PUBLISHER}/") for path in content(where)} == {
            path for path, _ in export.small_files()
        } | {f"objects/{part.carried.stored.id}/part-{part.number:04d}" for part in export.parts()}

    return check


def test_pulled_out_at_every_write(stick: Stick, tmp_path: Path) -> None:
    export = newer(stick, tmp_path)
    tried = stop_everywhere(
        stick.where, tmp_path, lambda where, disk: write(where, export, disk), old_or_new(stick, export), torn=True
    )
    print(f"stopped at each of {tried} operations")
    assert tried >= 30


def test_pulled_out_with_everything_lost_that_was_not_synced(stick: Stick, tmp_path: Path) -> None:
    export = newer(stick, tmp_path)
    tried = lose_everywhere(
        stick.where, tmp_path, lambda where, disk: write(where, export, disk), old_or_new(stick, export)
    )
    print(f"cut the power after each of {tried} operations")
    assert tried >= 30


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, NoSpace), (errno.EIO, OSError)])
def test_the_medium_fails_at_every_write(stick: Stick, tmp_path: Path, number: int, kind: type[Exception]) -> None:
    export = newer(stick, tmp_path)
    whole = old_or_new(stick, export)

    def check(where: Path, error: Exception) -> None:
        assert isinstance(error, kind)
        whole(where)

    tried = fail_everywhere(stick.where, tmp_path, lambda where, disk: write(where, export, disk), check, errno=number)
    print(f"failed each of {tried} operations")
    assert tried >= 20
