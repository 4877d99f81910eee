"""What a disk holds after the power went: everything that was made durable, and of the rest as little as we like.

:class:`RecordingDisk` does the real work and writes a log; :meth:`RecordingDisk.replay` builds, in another folder,
what would be left after the first K operations. The rules are POSIX's own, nothing kinder:

* the bytes and the length of a file are durable once the file was fsynced;
* a name (made, moved or removed) is durable once the folder that holds it was fsynced, whatever happened to the file;
* what is not durable may be there or not: :class:`Loss` says which of both kinds is dropped.

Files that are written by other means (SQLite fsyncs its own) are named in ``follow``: their bytes count as durable
at the next operation after they changed.
"""

from __future__ import annotations

import enum
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from lumen_box.atomic import Disk


class Loss(enum.Enum):
    """What is dropped of that which was never fsynced."""

    NOTHING = "nothing"
    DATA = "data"  # names survive, bytes do not: the classic file of length nought
    NAMES = "names"  # bytes survive where their names were durable already
    ALL = "all"


@dataclass(eq=False)
class _File:
    now: bytearray = field(default_factory=bytearray)
    kept: bytes = b""


@dataclass(eq=False)
class _Folder:
    now: dict[str, _Node] = field(default_factory=dict)
    kept: dict[str, _Node] = field(default_factory=dict)


_Node = _File | _Folder
_NAMELESS = "(deleted)"
_Record = tuple[str, tuple[str | int | bytes, ...]]


def _load(path: Path) -> _Node:
    if not path.is_dir():
        content = path.read_bytes()
        return _File(bytearray(content), content)
    entries = {entry.name: _load(entry) for entry in path.iterdir() if entry.is_dir() or entry.is_file()}
    return _Folder(dict(entries), dict(entries))


class _Model:
    """The same operations on nodes in memory, each with what it is now and what would be kept."""

    def __init__(self, root: _Folder) -> None:
        self.root = root
        self.inodes: dict[int, _File] = {}

    def find(self, path: str) -> _Node | None:
        node: _Node = self.root
        for name in path.split("/") if path != "." else ():
            if not isinstance(node, _Folder) or name not in node.now:
                return None
            node = node.now[name]
        return node

    def place(self, path: str) -> tuple[_Folder, str]:
        parent, _, name = path.rpartition("/")
        folder = self.find(parent or ".")
        assert isinstance(folder, _Folder), f"{parent} was not made through the disk that is recorded"
        return folder, name

    def file(self, path: str, inode: int) -> _File:
        """The file by its name, or by its inode once it has lost its name but is still open somewhere."""
        if path != _NAMELESS:
            node = self.find(path)
            assert isinstance(node, _File), f"{path} was not made through the disk that is recorded"
            self.inodes[inode] = node
        return self.inodes.setdefault(inode, _File())

    def apply(self, name: str, args: tuple[str | int | bytes, ...]) -> None:
        getattr(self, f"do_{name}")(*args)

    def do_mkdir(self, path: str) -> None:
        folder, name = self.place(path)
        folder.now[name] = _Folder()

    def do_create(self, path: str, inode: int) -> None:
        folder, name = self.place(path)
        folder.now[name] = self.inodes[inode] = _File()

    def do_open(self, path: str, inode: int) -> None:
        self.file(path, inode)

    def do_write(self, path: str, inode: int, offset: int, data: bytes) -> None:
        content = self.file(path, inode).now
        if len(content) < offset:
            content.extend(bytes(offset - len(content)))
        content[offset : offset + len(data)] = data

    def do_allocate(self, path: str, inode: int, length: int) -> None:
        content = self.file(path, inode).now
        content.extend(bytes(max(0, length - len(content))))

    def do_fsync(self, path: str, inode: int) -> None:
        file = self.file(path, inode)
        file.kept = bytes(file.now)

    def do_fsync_dir(self, path: str) -> None:
        folder = self.find(path)
        assert isinstance(folder, _Folder)
        folder.kept = dict(folder.now)

    def do_rename(self, source: str, target: str) -> None:
        (old, old_name), (new, new_name) = self.place(source), self.place(target)
        new.now[new_name] = old.now.pop(old_name)

    def do_unlink(self, path: str) -> None:
        folder, name = self.place(path)
        del folder.now[name]

    do_remove_tree = do_unlink

    def do_outside(self, path: str, data: bytes) -> None:
        folder, name = self.place(path)
        folder.now[name] = folder.kept[name] = _File(bytearray(data), data)

    def do_outside_gone(self, path: str) -> None:
        folder, name = self.place(path)
        folder.now.pop(name, None)
        folder.kept.pop(name, None)

    def write_out(self, node: _Node, path: Path, loss: Loss) -> None:
        if isinstance(node, _File):
            path.write_bytes(node.kept if loss in (Loss.DATA, Loss.ALL) else bytes(node.now))
            return
        path.mkdir(mode=0o700)
        for name, child in (node.kept if loss in (Loss.NAMES, Loss.ALL) else node.now).items():
            self.write_out(child, path / name, loss)


class QuickDisk(Disk):
    """Works as any disk, without waiting for the platter."""

    def fsync(self, fd: int) -> None:
        os.fstat(fd)

    def fsync_dir(self, path: Path) -> None:
        assert path.is_dir()


class RecordingDisk(QuickDisk):
    """Works as any disk below ``root`` and remembers every operation. What is there at the start counts as durable.

    Args:
        root: the folder to be rebuilt; operations outside of it are done and not recorded.
        follow: paths relative to ``root`` of files that something else writes durably.
    """

    def __init__(self, root: Path, follow: tuple[str, ...] = ()) -> None:
        self.root = root.resolve()
        self.log: list[_Record] = []
        self._start = self.root.with_name(f".{self.root.name}.at-start")
        shutil.copytree(self.root, self._start)
        self._follow: dict[str, bytes | None] = dict.fromkeys(follow)
        for name in follow:
            self._follow[name] = self._bytes(name)

    @property
    def operations(self) -> int:
        return len(self.log)

    def replay(self, target: Path, first: int, loss: Loss = Loss.ALL) -> None:
        """Makes ``target`` what ``root`` would be after the ``first`` operations and a power cut with that ``loss``."""
        start = _load(self._start)
        assert isinstance(start, _Folder)
        model = _Model(start)
        for name, args in self.log[:first]:
            model.apply(name, args)
        model.write_out(model.root, target, loss)

    def _bytes(self, name: str) -> bytes | None:
        path = self.root / name
        return path.read_bytes() if path.is_file() else None

    def _watch(self) -> None:
        for name, before in self._follow.items():
            now = self._bytes(name)
            if now != before:
                self._follow[name] = now
                self.log.append(("outside_gone", (name,)) if now is None else ("outside", (name, now)))

    def _note(self, name: str, *args: int | bytes | Path) -> None:
        """Logs what was done; paths become relative, and nothing is logged if one of them lies outside."""
        self._watch()
        parts = [self._relative(arg) if isinstance(arg, Path) else arg for arg in args]
        known = [part for part in parts if part is not None]
        if len(known) == len(parts):
            self.log.append((name, tuple(known)))

    def _note_file(self, name: str, fd: int, *args: int | bytes) -> None:
        place = os.readlink(f"/proc/self/fd/{fd}")
        path = self.root / _NAMELESS if place.endswith(" (deleted)") else Path(place)
        self._note(name, path, os.fstat(fd).st_ino, *args)

    def _relative(self, path: Path) -> str | None:
        real = path.parent.resolve() / path.name
        return str(real.relative_to(self.root)) if real.is_relative_to(self.root) else None

    def mkdir(self, path: Path) -> None:
        super().mkdir(path)
        self._note("mkdir", path)

    def create(self, path: Path, mode: int = 0o600) -> int:
        fd = super().create(path, mode)
        self._note_file("create", fd)
        return fd

    def open(self, path: Path) -> int:
        fd = super().open(path)
        self._note_file("open", fd)
        return fd

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        super().write(fd, data, offset)
        self._note_file("write", fd, offset, bytes(data))

    def allocate(self, fd: int, length: int) -> None:
        super().allocate(fd, length)
        self._note_file("allocate", fd, length)

    def fsync(self, fd: int) -> None:
        super().fsync(fd)
        self._note_file("fsync", fd)

    def fsync_dir(self, path: Path) -> None:
        super().fsync_dir(path)
        self._note("fsync_dir", path)

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self._note("rename", source, target)

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self._note("unlink", path)

    def remove_tree(self, path: Path) -> None:
        super().remove_tree(path)
        self._note("remove_tree", path)
