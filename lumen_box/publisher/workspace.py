"""The folder of one publisher, held by one process at a time.

    publisher.json         the sealed state; replacing it is the one step by which a change happens
    files/<sha256>         manifests, enrolments and TUF metadata, each under its own hash
    objects/<object id>/   the parts of each encrypted model
    staging/               work in progress

Files and objects are written before the state that names them and removed after the last one that did, so the folder
is whole whenever the process dies. What no state names is cleared away when the folder is next opened.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from ..atomic import PRIVATE_DIR, Disk, make_dir, remove, sweep, write_file
from ..bundle.enrolment import Enrolment
from ..bundle.limits import MAX_TARGET
from ..bundle.manifest import Manifest
from ..clock import Clock, parse_stamp
from ..errors import Damaged, Locked, NoBox, NotAllowed, NotFound, UsageError
from ..sealed.passphrase import Cost, new_salt
from ..sealed.signatures import SigningKey
from ..strictjson import loads
from ..trust.layout import MODELS, REVOCATIONS, ROLES, TargetPath
from ..trust.limits import MAX_PUBLISHER
from ..trust.repository import Repository, generate_keys
from .state import MAX_FILE, Safe, State

STATE, FILES, OBJECTS, STAGING, LOCK = "publisher.json", "files", "objects", "staging", "lock"
FIRST_GENERATION = 1


class Workspace:
    """An open workspace; a context manager. ``state`` is what the disk holds."""

    def __init__(
        self, folder: Path, lock: int, safe: Safe, state: State, generation: int, disk: Disk, clock: Clock
    ) -> None:
        self.folder, self.state, self.disk, self.clock = folder, state, disk, clock
        self._lock, self._safe, self._generation = lock, safe, generation

    @classmethod
    def create(
        cls,
        folder: Path,
        name: str,
        passphrase: bytes,
        *,
        disk: Disk | None = None,
        clock: Clock | None = None,
        cost: Cost | None = None,
    ) -> Self:
        """A new publisher in ``folder``, which must not exist, be empty, or be left over from an interrupted try.

        ``UsageError`` where something else is there already, or the name is not one line of text.
        """
        disk, clock = disk or Disk(), clock or Clock()
        _check_name(name)
        _check_free(folder)
        make_dir(disk, folder)
        folder.chmod(PRIVATE_DIR)
        lock = _locked(folder)
        try:
            for inner in (FILES, OBJECTS, STAGING):
                make_dir(disk, folder / inner)
            keys = generate_keys()
            repository = Repository.create(name, keys, clock.now())
            safe = Safe.new(repository.publisher_id, passphrase, new_salt(), cost or Cost())
            seeds = {role: tuple(key.seed for key in keys[role]) for role in ROLES}
            workspace = cls(folder, lock, safe, State(seeds, {}, {}, {}, {}), FIRST_GENERATION - 1, disk, clock)
            workspace.publish(repository)
            return workspace
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def open(cls, folder: Path, passphrase: bytes, *, disk: Disk | None = None, clock: Clock | None = None) -> Self:
        """The publisher in ``folder``. Raises ``NoBox``, ``Locked``, ``WrongKey``, ``Damaged`` or ``TooNew``."""
        disk = disk or Disk()
        cls.check(folder)
        lock = _locked(folder)
        try:
            with (folder / STATE).open("rb") as file:
                safe, state, generation = Safe.open(file.read(MAX_FILE + 1), passphrase)
            workspace = cls(folder, lock, safe, state, generation, disk, clock or Clock())
            workspace.clear_away()
            return workspace
        except BaseException:
            os.close(lock)
            raise

    @staticmethod
    def check(folder: Path) -> None:
        """``NoBox`` where there is no publisher; a command asks before it asks for a passphrase."""
        if not (folder / STATE).is_file():
            raise NoBox(f"There is no publisher in {folder}.", then="Make one with `lumen-box publisher init`.")

    def close(self) -> None:
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def id(self) -> str:
        return self._safe.publisher

    def now(self) -> datetime:
        """The wall clock, but never before the last signature: boxes would refuse what goes back in time."""
        timestamp = loads(self.file(self.state.metadata["timestamp.json"]), what="The timestamp", max_bytes=MAX_TARGET)
        return max(self.clock.now(), parse_stamp(timestamp["signed"]["signed_at"]))

    def repository(self) -> Repository:
        """The metadata as it was last signed, with its keys; change it, then :meth:`publish` it."""
        metadata = {name: self.file(sha256) for name, sha256 in self.state.metadata.items()}
        keys = {role: [SigningKey.from_seed(seed) for seed in seeds] for role, seeds in self.state.keys.items()}
        return Repository.load(metadata, self.file(self.state.targets[REVOCATIONS]), keys)

    def publish(self, repository: Repository, manifests: Iterable[bytes] = (), state: State | None = None) -> None:
        """Signs what changed and makes it the publisher's state, with whatever else ``state`` changes.

        ``manifests`` are the targets that were put into the repository.
        """
        now = self.now() if self.state.metadata else self.clock.now()
        published = repository.publish(now)
        self.write_files([*published.metadata.values(), published.revocations, *manifests])
        metadata = {name: digest(data) for name, data in published.metadata.items()}
        self.commit(replace(state or self.state, metadata=metadata, targets=repository.targets))

    def commit(self, state: State) -> None:
        """Makes ``state`` the publisher's state: before this nothing has changed, after it everything has."""
        write_file(self.disk, self.folder / STATE, self._safe.seal(state, self._generation + 1))
        self._generation += 1
        self.state = state
        self.clear_away()

    def write_files(self, contents: Iterable[bytes]) -> None:
        """Puts public files under their hashes; they stay only if a state that names them is committed."""
        for data in contents:
            path = self.folder / FILES / digest(data)
            if not path.exists():
                write_file(self.disk, path, data)

    def file(self, sha256: str) -> bytes:
        """A public file; ``Damaged`` if it is missing or not what was written."""
        try:
            data = (self.folder / FILES / sha256).read_bytes()
        except FileNotFoundError:
            data = b""
        if digest(data) != sha256:
            raise Damaged(
                f"The publisher's file {sha256} is missing or damaged.",
                kept="Nothing was changed.",
                then="Restore the publisher's folder from a backup.",
            )
        return data

    def enrolments(self) -> dict[str, Enrolment]:
        """The newest enrolment of every box, by box id."""
        return {identity: Enrolment.parse(self.file(sha256)) for identity, sha256 in self.state.boxes.items()}

    def manifests(self) -> dict[str, Manifest]:
        """The manifest of every model, by its target path."""
        paths = [path for path in sorted(self.state.targets) if TargetPath.parse(path).role == MODELS]
        return {path: Manifest.parse(self.file(self.state.targets[path]), path) for path in paths}

    def box_id(self, wanted: str) -> str:
        """The id of the enrolled box with this id or name; ``NotFound``, or ``UsageError`` where several have it."""
        found = [identity for identity, box in self.enrolments().items() if wanted in (identity, box.name)]
        if not found:
            raise NotFound(f"No box {wanted!r} is enrolled.", then="Enrol it first, or check the name.")
        if len(found) > 1:
            raise UsageError(f"Several boxes are named {wanted!r}.", then=f"Use one's id: {', '.join(found)}.")
        return found[0]

    def clear_away(self) -> None:
        """Removes what interrupted work left behind and what the state no longer names."""
        sweep(self.disk, self.folder)
        kept: Mapping[str, Iterable[str]] = {FILES: self.state.files, OBJECTS: self.state.objects, STAGING: ()}
        for inner, names in kept.items():
            make_dir(self.disk, self.folder / inner)
            sweep(self.disk, self.folder / inner)
            for entry in (self.folder / inner).iterdir():
                if entry.name not in names:
                    remove(self.disk, entry)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _check_name(name: str) -> None:
    if not name or name != name.strip() or not name.isprintable() or len(name) > MAX_PUBLISHER:
        raise UsageError(
            f"A publisher's name is one line of 1 to {MAX_PUBLISHER} printable characters.",
            kept="Nothing was made.",
            then="Give another name with --name.",
        )


def _check_free(folder: Path) -> None:
    if (folder / STATE).exists():
        raise UsageError(f"There is a publisher in {folder} already.", kept="It was not changed.")
    ours = re.compile(rf"{FILES}|{OBJECTS}|{STAGING}|{LOCK}|\..*\.tmp")  # of an interrupted try
    if folder.exists() and not (folder.is_dir() and all(ours.fullmatch(entry.name) for entry in folder.iterdir())):
        raise UsageError(
            f"{folder} is not an empty folder.", kept="It was not changed.", then="Name a folder that does not exist."
        )


def _locked(folder: Path) -> int:
    try:
        fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except PermissionError:
        raise NotAllowed(f"You may not open the publisher in {folder}.", then="Run this as its owner.") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Locked(
            f"Another process works in {folder}.", kept="Nothing was changed.", then="Wait until it has finished."
        ) from None
    return fd
