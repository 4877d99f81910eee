"""Looking for words wherever a process may leave them: in files, and in what its descriptors and maps hold."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

PIECE = 8 << 20
SHARED = (Path("/dev/shm"), Path(tempfile.gettempdir()))


@dataclass(frozen=True)
class Search:
    """``words`` anywhere; in places that other tests share, only in what is newer than ``began`` and ours."""

    words: tuple[bytes, ...]
    began: float

    @classmethod
    def of(cls, *words: bytes) -> Search:
        return cls(words, time.time() - 1)

    def in_folder(self, folder: Path) -> list[Path]:
        return [path for path in _files(folder) if self._in_file(path)]

    def in_shared_places(self) -> list[Path]:
        """Files directly in the folders for temporary files; other tests' own folders there have their own models."""
        entries = [entry for folder in SHARED if folder.is_dir() for entry in folder.iterdir()]
        return [entry for entry in entries if self._is_fresh(entry) and self._in_file(entry)]

    def in_process(self, pid: int) -> list[str]:
        """What the process has open or mapped that holds a word: regular files, deleted ones and memfds among them."""
        places = [f"/proc/{pid}/{kind}/{one}" for kind in ("fd", "map_files") for one in _listed(f"/proc/{pid}/{kind}")]
        return [os.readlink(path) for path in _each_once(places) if self._in_file(path)]

    def _is_fresh(self, path: Path) -> bool:
        try:
            found = path.lstat()
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_mtime >= self.began and found.st_uid == os.geteuid()

    def _in_file(self, path: Path) -> bool:
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                return False
            with path.open("rb") as file:
                return self._in_stream(file)
        except OSError:
            return False  # another test's, gone meanwhile

    def _in_stream(self, file: BinaryIO) -> bool:
        rest, longest = b"", max(map(len, self.words))
        while piece := file.read(PIECE):
            piece = rest + piece
            if any(word in piece for word in self.words):
                return True
            rest = piece[-longest:]
        return False


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def _each_once(places: list[str]) -> list[Path]:
    """One path for every file behind them, since a library is mapped in several pieces."""
    files: dict[tuple[int, int], Path] = {}
    for place in places:
        with contextlib.suppress(OSError):
            found = os.stat(place)
            files.setdefault((found.st_dev, found.st_ino), Path(place))
    return list(files.values())


def _listed(folder: str) -> list[str]:
    """What root sees; nobody else is let in to an undumpable process, which is as good."""
    try:
        return os.listdir(folder)
    except PermissionError:
        assert os.geteuid() != 0
        return []
