"""Media as a stranger may hand them over: every change is noticed, named, and stops at the first bad byte."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from lumen_box.bundle import files, parts
from lumen_box.bundle.limits import MAX_METADATA
from lumen_box.bundle.medium import Medium
from lumen_box.errors import Damaged, LumenError, NotFound, PartMissing, TooNew

from .sticks import PUBLISHER, TARGET, TARGET_SHA256, Stick, sealed


def whole(stick: Stick) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(stick.objects[0].folder.iterdir()))


def test_a_good_medium_gives_back_what_was_written(stick: Stick) -> None:
    stored = stick.objects[0].stored
    assert len(stored.segments) == 9 and stored.slices.parts == 3
    assert stick.read() == whole(stick)
    with Medium.open(stick.where) as medium:
        assert medium.publishers() == [PUBLISHER]
        assert medium.target(PUBLISHER, TARGET[0], TARGET_SHA256) == TARGET[1]
        assert medium.fetch_metadata(PUBLISHER, "1.root.json") == b"root"
        assert medium.fetch_metadata(PUBLISHER, "2.root.json") is None


@pytest.mark.parametrize("start", range(10))
def test_reading_begins_at_any_segment(stick: Stick, start: int) -> None:
    assert stick.read(start) == whole(stick)[stick.objects[0].stored.slices.offset(start) :]


def edit(number: int, change: Callable[[bytes], bytes]) -> Callable[[Stick], object]:
    def apply(stick: Stick) -> None:
        stick.part(number).write_bytes(change(stick.part(number).read_bytes()))

    return apply


def exchange(one: int, other: int) -> Callable[[Stick], None]:
    def apply(stick: Stick) -> None:
        first, second = stick.part(one).read_bytes(), stick.part(other).read_bytes()
        stick.part(one).write_bytes(second)
        stick.part(other).write_bytes(first)

    return apply


def flip(at: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        raw = bytearray(data)
        raw[at] ^= 1
        return bytes(raw)

    return change


def reorder_segments(data: bytes) -> bytes:
    third = len(data) // 3
    return data[third : 2 * third] + data[:third] + data[2 * third :]


def repeat_a_segment(data: bytes) -> bytes:
    third = len(data) // 3
    return data[:third] * 2 + data[2 * third :]


def of_the_other_object(stick: Stick) -> None:
    shutil.copy(stick.part(2, 1), stick.part(2, 0))


def forged_by_a_recipient(stick: Stick) -> None:
    """Whoever holds the content key can write another stream that decrypts without an error."""
    item = stick.objects[0]
    forged = sealed(stick.where.parent / "forged", key=item.key, identity=item.stored.id)
    for number in (1, 2, 3):
        shutil.copy(forged.folder / f"part-{number:04d}", stick.part(number))


def remove(number: int) -> Callable[[Stick], None]:
    return lambda stick: stick.part(number).unlink()


def copy_over(one: int, other: int) -> Callable[[Stick], object]:
    return lambda stick: stick.part(other).write_bytes(stick.part(one).read_bytes())


def lengthen(size: int) -> Callable[[Stick], None]:
    return lambda stick: os.truncate(stick.part(2), size)


# What was changed, the error, what its sentence names, and how many sound segments come first.
BAD: list[tuple[str, Callable[[Stick], object], type[LumenError], str, int]] = [
    ("first part cut short", edit(1, lambda data: data[:-1]), Damaged, "part-0001 was cut short", 0),
    ("middle part cut short", edit(2, lambda data: data[:-1]), Damaged, "part-0002 was cut short", 3),
    ("last part cut short", edit(3, lambda data: data[:-1]), Damaged, "part-0003 was cut short", 6),
    ("trailing byte", edit(3, lambda data: data + b"\0"), Damaged, "part-0003 has bytes added", 6),
    ("trailing byte in the middle", edit(1, lambda data: data + b"\0"), Damaged, "part-0001 has bytes added", 0),
    ("empty", edit(2, lambda data: b""), Damaged, "part-0002 was cut short", 3),
    ("a segment short", edit(2, lambda data: data[:32800]), Damaged, "part-0002 was cut short", 3),
    ("parts exchanged", exchange(1, 2), Damaged, "part-0001", 0),
    ("a part twice", copy_over(2, 3), Damaged, "part-0003", 6),
    ("segments reordered", edit(2, reorder_segments), Damaged, "part-0002 is damaged", 3),
    ("a segment twice", edit(2, repeat_a_segment), Damaged, "part-0002 is damaged", 4),
    ("a bit of the header", edit(1, flip(0)), Damaged, "part-0001 is damaged: the segment at byte 0", 0),
    ("a bit in the middle", edit(2, flip(20000)), Damaged, "part-0002 is damaged: the segment at byte 16400", 4),
    ("the last bit", edit(3, flip(-1)), Damaged, "part-0003 is damaged", 8),
    ("a part of another object", of_the_other_object, Damaged, "part-0002 is damaged", 3),
    ("a co-recipient's forgery", forged_by_a_recipient, Damaged, "part-0001 is damaged", 0),
    ("first part missing", remove(1), PartMissing, "part-0001", 0),
    ("middle part missing", remove(2), PartMissing, "part-0002", 3),
    ("last part missing", remove(3), PartMissing, "part-0003", 6),
    ("the object missing", lambda stick: shutil.rmtree(stick.part(1).parent), PartMissing, "part-0001", 0),
    ("length 2**32 - 1", lengthen(2**32 - 1), Damaged, "part-0002 has bytes added", 3),
    ("length 2**43", lengthen(2**43), Damaged, "part-0002 has bytes added", 3),
]


@pytest.mark.parametrize(("change", "error", "names", "sound"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_parts(
    stick: Stick, change: Callable[[Stick], object], error: type[LumenError], names: str, sound: int
) -> None:
    before = whole(stick)
    change(stick)
    got: list[bytes] = []
    with Medium.open(stick.where) as medium, pytest.raises(error) as caught:
        for index, data in medium.segments(PUBLISHER, stick.objects[0].stored):
            assert index == len(got)
            got.append(data)
    assert type(caught.value) is error
    assert names in caught.value.what
    assert len(got) == sound
    assert before.startswith(b"".join(got))


def test_parts_on_a_second_medium(stick: Stick, tmp_path: Path) -> None:
    """The first medium gives what it has; the second goes on from there."""
    stored, second = stick.objects[0].stored, tmp_path / "second"
    shutil.copytree(stick.where, second)
    for number in (2, 3):
        stick.part(number).unlink()
    (second / stick.part(1).relative_to(stick.where)).unlink()
    got: list[bytes] = []
    with Medium.open(stick.where) as medium, pytest.raises(PartMissing, match="part-0002"):
        for _, data in medium.segments(PUBLISHER, stored):
            got.append(data)
    assert len(got) == 3
    with Medium.open(second) as medium:
        got += [data for _, data in medium.segments(PUBLISHER, stored, start=3)]
    assert b"".join(got) == whole(stick)


def replace_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.rename(path.with_name("moved-away"))
        make(path)

    return change


def bind(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # an address has 107 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


ODD: list[tuple[str, Callable[[Path], object]]] = [
    ("link to a sound copy", lambda path: path.symlink_to("moved-away")),
    ("link elsewhere", lambda path: path.symlink_to("/etc/hostname")),
    ("dangling link", lambda path: path.symlink_to("nowhere")),
    ("FIFO", os.mkfifo),
    ("socket", bind),
]
PLACES: list[tuple[str, Callable[[Stick], Path]]] = [
    ("part", lambda stick: stick.part(1)),
    ("object's folder", lambda stick: stick.part(1).parent),
    ("objects", lambda stick: stick.root / "objects"),
    ("recipient", lambda stick: stick.recipient(0)),
    ("recipients", lambda stick: stick.recipient(0).parent),
    ("metadata file", lambda stick: stick.root / "metadata" / "1.root.json"),
    ("metadata", lambda stick: stick.root / "metadata"),
    ("target", lambda stick: stick.root / "targets" / next(iter(stick.export.targets))),
    ("targets", lambda stick: stick.root / "targets"),
    ("publisher", lambda stick: stick.root),
    ("v1", lambda stick: stick.root.parent),
    ("lumen-medium", lambda stick: stick.root.parent.parent),
]


@pytest.mark.parametrize("odd", [row[1] for row in ODD], ids=[row[0] for row in ODD])
@pytest.mark.parametrize("place", [row[1] for row in PLACES], ids=[row[0] for row in PLACES])
def test_links_fifos_and_sockets_are_refused_and_nothing_hangs(
    stick: Stick, place: Callable[[Stick], Path], odd: Callable[[Path], object]
) -> None:
    replace_by(odd)(place(stick))
    stored = stick.objects[0].stored
    with pytest.raises(Damaged, match="is not a") as caught, Medium.open(stick.where) as medium:
        medium.fetch_metadata(PUBLISHER, "1.root.json")
        medium.target(PUBLISHER, TARGET[0], TARGET_SHA256)
        medium.recipient(PUBLISHER, stored.id, stick.boxes[0].public.key_id)
        for _ in medium.segments(PUBLISHER, stored):
            pass
    assert place(stick).name in caught.value.what


def test_a_folder_in_the_place_of_a_part_is_refused(stick: Stick) -> None:
    replace_by(Path.mkdir)(stick.part(1))
    with pytest.raises(Damaged, match="part-0001"):
        stick.read()


@pytest.mark.parametrize("device", ["null", "zero"])
def test_devices_are_refused_and_not_even_opened(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dev, really, seen = os.open("/dev", os.O_RDONLY), os.open, []

    def watched(path: str, flags: int, **more: int) -> int:
        seen.append(path)
        return really(path, flags, **more)

    monkeypatch.setattr(os, "open", watched)
    os.close(os.open("/dev/null", os.O_RDONLY))
    with pytest.raises(Damaged, match=device):
        files.open_below(dev, [device])
    assert seen == ["/dev/null"]  # our own, to show that it would be seen
    os.close(dev)


def link(path: Path) -> None:
    path.symlink_to("moved-away")


@pytest.mark.parametrize(
    ("swap", "folder"),
    [(link, False), (os.mkfifo, False), (Path.mkdir, False), (link, True), (os.mkfifo, True)],
    ids=["link", "FIFO", "folder", "link for a folder", "FIFO for a folder"],
)
def test_what_is_swapped_between_the_look_and_the_opening_is_refused(
    stick: Stick, swap: Callable[[Path], object], folder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look sees a good part, or folder; by the time it is opened, something else has its name."""
    really, victim = os.stat, stick.part(1).parent if folder else stick.part(1)

    def look_then_swap(name: str, **how: int) -> os.stat_result:
        seen = really(name, **how)  # type: ignore[arg-type]
        if name == victim.name:
            replace_by(swap)(victim)
        return seen

    with Medium.open(stick.where) as medium:
        stream = medium.segments(PUBLISHER, stick.objects[0].stored)
        monkeypatch.setattr(os, "stat", look_then_swap)
        with pytest.raises(Damaged, match=f"{victim.name} on the medium is not a"):
            next(stream)
        monkeypatch.undo()


@pytest.mark.parametrize(
    "name", ["..", "../1.root.json", "root.json", "1.root.json/", "1.Root.json", "1.root.json\0", "01.root.json", ""]
)
def test_metadata_has_only_metadata_names(stick: Stick, name: str) -> None:
    with Medium.open(stick.where) as medium, pytest.raises(Damaged):
        medium.fetch_metadata(PUBLISHER, name)


@pytest.mark.parametrize(
    "path",
    ["../x.json", "models/../x.json", "models/a/b/c.json", "models/A/1.json", "/etc/passwd", "models/a\0/1.json", ""],
)
def test_targets_have_only_target_paths(stick: Stick, path: str) -> None:
    with Medium.open(stick.where) as medium, pytest.raises(Damaged):
        medium.target(PUBLISHER, path, TARGET_SHA256)


@pytest.mark.parametrize("name", ["..", "AB" * 32, "ab" * 31, "ab" * 31 + "/.", "ab" * 31 + "\0\0", ""])
def test_ids_are_ids(stick: Stick, name: str) -> None:
    with Medium.open(stick.where) as medium:
        with pytest.raises(Damaged):
            medium.fetch_metadata(name, "1.root.json")
        with pytest.raises(Damaged):
            medium.recipient(PUBLISHER, name, "ab" * 32)
        with pytest.raises(Damaged):
            medium.recipient(PUBLISHER, stick.objects[0].stored.id, name)


def test_strange_entries_are_no_publishers(stick: Stick) -> None:
    for name in ("AB" * 32, ".Trash-1000", "System Volume Information", "ab" * 33):
        (stick.root.parent / name).mkdir()
    with Medium.open(stick.where) as medium:
        assert medium.publishers() == [PUBLISHER]


def test_a_folder_with_endless_entries_is_refused(stick: Stick, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (stick.root.parent / f"entry-{number}").touch()
    monkeypatch.setattr("lumen_box.bundle.limits.MAX_ENTRIES", 4)
    with Medium.open(stick.where) as medium, pytest.raises(Damaged, match="more entries"):
        medium.publishers()


@pytest.mark.parametrize("size", [MAX_METADATA + 1, 2**32 - 1, 2**43])
def test_what_is_too_large_is_not_read(stick: Stick, size: int) -> None:
    os.truncate(stick.root / "metadata" / "1.root.json", size)
    with Medium.open(stick.where) as medium, pytest.raises(Damaged, match="larger than"):
        medium.fetch_metadata(PUBLISHER, "1.root.json")


@pytest.mark.parametrize("data", [b"", b'{"a":2}', b'{"a":1} '])
def test_a_target_with_another_hash_is_refused(stick: Stick, data: bytes) -> None:
    (stick.root / "targets" / next(iter(stick.export.targets))).write_bytes(data)
    with Medium.open(stick.where) as medium, pytest.raises(Damaged, match=TARGET[0]):
        medium.target(PUBLISHER, TARGET[0], TARGET_SHA256)


def test_a_missing_target_is_named(stick: Stick) -> None:
    with Medium.open(stick.where) as medium, pytest.raises(Damaged, match=r"models/clinical/2\.json"):
        medium.target(PUBLISHER, "models/clinical/2.json", TARGET_SHA256)


@pytest.mark.parametrize("inner", ["", "lumen-medium"])
@pytest.mark.parametrize("by_descriptor", [False, True])
def test_a_medium_is_its_mount_point_or_its_folder(stick: Stick, inner: str, by_descriptor: bool) -> None:
    fd = os.open(stick.where / inner, os.O_RDONLY | os.O_DIRECTORY)
    with Medium.open(fd if by_descriptor else stick.where / inner) as medium:
        assert medium.publishers() == [PUBLISHER]
    os.close(fd)  # still the caller's


def test_a_descriptor_follows_no_renaming(stick: Stick) -> None:
    with Medium.open(stick.where) as medium:
        stick.where.rename(stick.where.with_name("elsewhere"))
        stick.where.mkdir()
        assert medium.fetch_metadata(PUBLISHER, "1.root.json") == b"root"


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: None], ids=["empty", "a file", "nothing"])
def test_what_is_no_medium_is_not_found(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "usb")
    with pytest.raises(NotFound, match="usb"):
        Medium.open(tmp_path / "usb")


def test_a_medium_of_a_later_version_needs_a_newer_box(tmp_path: Path) -> None:
    (tmp_path / "lumen-medium" / "v2").mkdir(parents=True)
    with pytest.raises(TooNew):
        Medium.open(tmp_path)


def test_segments_are_put_where_there_is_room(stick: Stick) -> None:
    stored = stick.objects[0].stored
    room = parts.in_turn(stored.slices.segment_size(0), 2)
    with Medium.open(stick.where) as medium:
        stream = [(bytes(data), id(data.obj)) for _, data in medium.segments(PUBLISHER, stored, room=room)]
    assert len(stream) > 2
    assert b"".join(data for data, _ in stream) == whole(stick)
    assert len({buffer for _, buffer in stream}) == 2


def test_the_bytes_that_were_checked_are_the_bytes_that_are_used(stick: Stick, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody rewrites every file right after it was read: nothing read is read again, so nobody notices."""
    before, read, fill = whole(stick), files.read_at, files.read_into

    def spoil(fd: int, offset: int, size: int) -> None:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        spoilt = bytearray(path.read_bytes())
        spoilt[offset : offset + size] = bytes(size)[: len(spoilt) - offset]
        path.write_bytes(spoilt)

    def read_then_spoil(fd: int, offset: int, size: int) -> bytes:
        data = read(fd, offset, size)
        spoil(fd, offset, size)
        return data

    def fill_then_spoil(fd: int, offset: int, out: memoryview) -> int:
        count = fill(fd, offset, out)
        spoil(fd, offset, len(out))
        return count

    monkeypatch.setattr(files, "read_at", read_then_spoil)
    monkeypatch.setattr(parts, "read_into", fill_then_spoil)
    assert stick.read() == before
    assert stick.part(1).read_bytes() == bytes(stick.part(1).stat().st_size)
    with Medium.open(stick.where) as medium:
        assert medium.target(PUBLISHER, TARGET[0], TARGET_SHA256) == TARGET[1]
        with pytest.raises(Damaged):
            medium.target(PUBLISHER, TARGET[0], TARGET_SHA256)


def test_a_part_that_changes_while_it_is_read_is_noticed(stick: Stick) -> None:
    with Medium.open(stick.where) as medium:
        stream = medium.segments(PUBLISHER, stick.objects[0].stored)
        assert next(stream)[0] == 0
        os.truncate(stick.part(1), 20000)
        with pytest.raises(Damaged, match="part-0001"):
            next(stream)
