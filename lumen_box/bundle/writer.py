"""Writing media: what one export carries, spread over as many media as it needs.

Every medium carries all metadata, manifests and recipient files, and its share of the parts, so each one verifies
alone. The order of writing keeps a medium usable if it is pulled out: parts first, ``timestamp.json`` last, and only
then what the new export no longer has is removed. Everything is written under another name and renamed; a part that
is already there is read back, and kept if all its hashes hold.

Files get mode 0644 and folders 0755, unlike everything else that Lumen Box writes: a medium carries nothing that is
secret in the clear, and on a file system with owners the box reads it as another user than the one who wrote it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..atomic import Disk, sweep, translated, write_file
from ..errors import Damaged, LumenError, NoSpace, UsageError
from ..progress import Advance, Report, Step
from ..trust.layout import ROOT, TIMESTAMP, parse_metadata_name
from . import layout
from .manifest import StoredObject
from .parts import in_turn, read_part

FILE_MODE, FOLDER_MODE = 0o644, 0o755
SMALL_BLOCK, LARGE_BLOCK = 4 << 10, 32 << 10  # what a file takes at least, on a small file system and on a large one
LARGE = 1 << 30


@dataclass(frozen=True)
class Carried:
    """An object to carry: ``folder`` holds its parts, ``recipients`` are its files by recipient key id."""

    stored: StoredObject
    folder: Path
    recipients: Mapping[str, bytes]


@dataclass(frozen=True)
class Part:
    """One part of one of the objects, ``number`` from 1."""

    carried: Carried
    number: int

    @property
    def size(self) -> int:
        return self.carried.stored.slices.part_size(self.number)


@dataclass(frozen=True)
class Export:
    """Everything that one export carries. ``metadata`` is by file name, ``targets`` by path with the hash in it."""

    publisher: str
    metadata: Mapping[str, bytes]
    targets: Mapping[str, bytes]
    objects: Sequence[Carried]

    def small_files(self) -> Iterator[tuple[str, bytes]]:
        """Path below the publisher's folder, and bytes, of all that every medium carries; roots and timestamp last."""
        for carried in self.objects:
            for key_id, data in carried.recipients.items():
                yield f"{layout.OBJECTS}/{carried.stored.id}/{layout.RECIPIENTS}/{layout.key_id(key_id)}", data
        for path, data in self.targets.items():
            yield f"{layout.TARGETS}/{path}", data
        for name in sorted(self.metadata, key=_last_of_all):
            yield f"{layout.METADATA}/{layout.metadata_name(name)}", self.metadata[name]

    def parts(self) -> list[Part]:
        return [Part(carried, number + 1) for carried in self.objects for number in range(carried.stored.slices.parts)]


def _last_of_all(name: str) -> tuple[bool, bool, int, str]:
    """Until the timestamp is replaced a reader finds the old export whole, unless it follows a new root."""
    role, version = parse_metadata_name(name)
    return role == TIMESTAMP, role == ROOT, version, name


def plan(export: Export, capacity: int | None) -> list[list[Part]]:
    """The parts of each medium, in order; always at least one medium, and the same ones for the same arguments.

    ``capacity`` is in bytes; None takes everything on one. ``UsageError`` where it is too small for even one part.
    """
    if capacity is None:
        return [export.parts()]
    block = LARGE_BLOCK if capacity >= LARGE else SMALL_BLOCK
    room = capacity - sum(_taken(len(data), block) for _, data in export.small_files())
    media: list[list[Part]] = [[]]
    left = room
    for part in export.parts():
        need = _taken(part.size, block)
        if need > room:
            raise UsageError(
                f"A medium of {capacity} bytes is too small: one part and the metadata take {capacity - room + need}.",
                kept="Nothing was written.",
                then="Use larger media.",
            )
        if need > left:
            media.append([])
            left = room
        media[-1].append(part)
        left -= need
    return media


def write_medium(where: Path, export: Export, parts: Sequence[Part], disk: Disk, report: Report) -> None:
    """Makes the medium at the mount point ``where`` carry ``export`` with these ``parts``, and nothing older.

    Other publishers' folders are left alone. Can be interrupted at any point and run again. Raises ``NoSpace``,
    ``Damaged`` (a part in the workspace is not what was signed), ``UsageError`` (a link or a file in the way).
    """
    for folder in reversed([where, *where.parents]):
        if not folder.exists():
            _make(disk, folder)
    root = where / layout.TOP / layout.VERSION / export.publisher
    for folder in _folders(root, export):
        _make(disk, folder)
        sweep(disk, folder)
    _check_space(root, export, parts)
    done, total = 0, sum(part.size for part in parts)
    report(Step(f"Writing {where}"))
    for part in parts:
        for count in _write_part(root, part, disk):
            done += count
            report(Advance(done, total))
    for path, data in export.small_files():
        _write_small(disk, root / path, data)
    _prune(disk, root, export, parts)


def _folders(root: Path, export: Export) -> list[Path]:
    """Every folder that the export needs, parents before children."""
    folders = [*reversed(root.parents[:2]), root, root / layout.METADATA, root / layout.TARGETS, root / layout.OBJECTS]
    for path in sorted(export.targets):
        folders += [root / layout.TARGETS / parent for parent in reversed(Path(path).parents[:-1])]
    for carried in export.objects:
        folder = root / layout.OBJECTS / carried.stored.id
        folders += [folder, folder / layout.RECIPIENTS]
    return list(dict.fromkeys(folders))


def _make(disk: Disk, folder: Path) -> None:
    """A folder that others may read; what is there already must be a folder and no link."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(
            f"{folder} on the medium is not a folder; links are not followed.",
            kept="Nothing was written there.",
            then="Remove it, or use another medium.",
        )
    if not folder.is_dir():
        with translated(f"Making the folder {folder.name} failed"):
            disk.mkdir(folder)
            disk.fsync_dir(folder.parent)
    with contextlib.suppress(OSError):  # some file systems of sticks have no modes
        folder.chmod(FOLDER_MODE)


def _check_space(root: Path, export: Export, parts: Sequence[Part]) -> None:
    wanted = [(root / path, len(data)) for path, data in export.small_files()]
    wanted += [(_place(root, part), part.size) for part in parts]
    space = os.statvfs(root)
    need = sum(_taken(size, space.f_frsize) for path, size in wanted if not path.exists())
    if need > space.f_bavail * space.f_frsize:
        raise NoSpace(
            f"The medium has {space.f_bavail * space.f_frsize} bytes free, and {need} are needed.",
            kept="Nothing new was written.",
            then="Use a larger medium, or spread the export over several with --medium-size.",
        )


def _place(root: Path, part: Part) -> Path:
    return root / layout.OBJECTS / part.carried.stored.id / layout.part_name(part.number)


def _write_part(root: Path, part: Part, disk: Disk) -> Iterator[int]:
    """Copies one part, verifying it on the way; yields how many bytes are done each time."""
    final = _place(root, part)
    if _is_whole(final.parent, part):
        yield part.size
        return
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}.tmp")
    with translated(f"Writing {final.name} failed"):
        fd = disk.create(temporary, FILE_MODE)
        try:
            offset = 0
            for data in _segments(part.carried.folder, part):
                disk.write(fd, data, offset)
                offset += len(data)
                yield len(data)
            _readable(fd)
            disk.fsync(fd)
        except (Exception, KeyboardInterrupt, GeneratorExit):
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        finally:
            os.close(fd)
        disk.rename(temporary, final)
        disk.fsync_dir(final.parent)


def _segments(folder: Path, part: Part) -> Iterator[memoryview]:
    """The segments of one part, each good until the next is asked for."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        stored = part.carried.stored
        for _, data in read_part(fd, stored, part.number, room=in_turn(stored.slices.segment_size(0), 1)):
            yield data
    except LumenError as error:
        raise Damaged(
            f"The publisher's own copy of an object is not what was signed: {error.what}",
            kept="The medium is not finished.",
            then="Restore the publisher's folder from a backup, or add the model again under a new version.",
        ) from error
    finally:
        os.close(fd)


def _is_whole(folder: Path, part: Part) -> bool:
    if not (folder / layout.part_name(part.number)).exists():
        return False
    try:
        for _ in _segments(folder, part):
            pass
    except Damaged:
        return False
    return True


def _write_small(disk: Disk, path: Path, data: bytes) -> None:
    """Replaces a small file, unless it holds these bytes already."""
    if path.is_file() and not path.is_symlink() and path.read_bytes() == data:
        return
    write_file(disk, path, data, FILE_MODE)
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _readable(fd)
    finally:
        os.close(fd)


def _readable(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.fchmod(fd, FILE_MODE)


def _prune(disk: Disk, root: Path, export: Export, parts: Sequence[Part]) -> None:
    """Removes what an older export left here. Only files that have names of ours are touched, and no link followed."""
    wanted = {root / path for path, _ in export.small_files()} | {_place(root, part) for part in parts}
    ours = re.compile(rf"part-\d{{4,}}|{layout.HEX32}(?:\.{layout.NAME})?|[\d.]*[a-z]+\.json")
    for top in (layout.METADATA, layout.TARGETS, layout.OBJECTS):
        for folder, _, names in os.walk(root / top, topdown=False):
            for name in names:
                path = Path(folder, name)
                if path not in wanted and ours.fullmatch(name):
                    disk.unlink(path)
            if Path(folder) not in {root / top, *_folders(root, export)}:
                with contextlib.suppress(OSError):  # something that is not ours is still in it
                    Path(folder).rmdir()


def _taken(size: int, block: int) -> int:
    return -(-size // block) * block
