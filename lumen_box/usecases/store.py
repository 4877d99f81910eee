"""Models as they lie on the box: an object's ciphertext, as it came, and the manifest that says what it is.

    objects/<object id>                                    the stored stream
    models/<publisher id>/<name>/<version>/manifest.json   as signed

A model is installed when its manifest is in place; that is the last step, a rename. So whatever else is found
(an object without a manifest, a key without an object) was left by an interrupted install or removal, and is either
used by the next run or swept away.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..atomic import Disk, make_dir, publish, remove, write_file
from ..bundle.limits import MAX_MANIFEST
from ..bundle.manifest import Manifest, StoredObject
from ..catalogue import Installed
from ..clock import Clock, stamp
from ..errors import Damaged, LumenError
from ..paths import Home
from ..progress import Advance, Report
from ..sealed.stream import HEADER, fits, object_context

_NAME = "manifest.json"


class Store:
    """Reads and changes ``models/`` and ``objects/`` of one home."""

    def __init__(self, home: Home, disk: Disk, clock: Clock) -> None:
        self._home, self._disk, self._clock = home, disk, clock

    def object_path(self, object_id: str) -> Path:
        return self._home.objects / object_id

    def manifest(self, installed: Installed) -> Manifest:
        """``Damaged`` if the manifest of an installed model is not there or not sound."""
        path = self._folder(installed.publisher, installed.name, installed.version) / _NAME
        return Manifest.parse(_read(path), path=f"models/{installed.name}/{installed.version}.json")

    def manifest_bytes(self, installed: Installed) -> bytes:
        return _read(self._folder(installed.publisher, installed.name, installed.version) / _NAME)

    def publish_object(self, staged: Path, stored: StoredObject) -> None:
        """Moves verified ciphertext to its place; what lies there already has the same id and was found unsound."""
        make_dir(self._disk, self._home.objects)
        publish(self._disk, staged, self.object_path(stored.id))

    def publish_manifest(self, publisher: str, manifest: Manifest, data: bytes) -> Installed:
        """Makes the model installed. The bytes stored are those that were signed."""
        folder = self._folder(publisher, manifest.name, manifest.version)
        make_dir(self._disk, folder)
        write_file(self._disk, folder / _NAME, data)
        return self._installed(publisher, manifest)

    def remove_model(self, installed: Installed) -> None:
        """The manifest goes first, then the object, if no other version uses it."""
        folder = self._folder(installed.publisher, installed.name, installed.version)
        remove(self._disk, folder)
        if installed.object not in {other.object for other in self.found()}:
            remove(self._disk, self.object_path(installed.object))

    def found(self) -> Iterator[Installed]:
        """Every model whose manifest is in place. One that cannot be read is left out, and ``verify`` names it."""
        for path in sorted(self._home.models.glob(f"*/*/*/{_NAME}")):
            version, name, publisher = path.parent.name, path.parent.parent.name, path.parent.parent.parent.name
            try:
                manifest = Manifest.parse(_read(path), path=f"models/{name}/{version}.json")
            except LumenError:
                continue
            yield self._installed(publisher, manifest)

    def sweep(self, keep: set[str]) -> None:
        """Removes objects that no installed model uses; ``keep`` names those an install is about to use."""
        used = {entry.object for entry in self.found()} | keep
        for path in self._home.objects.iterdir() if self._home.objects.is_dir() else ():
            if path.name not in used:
                remove(self._disk, path)

    def whole(self, stored: StoredObject, report: Report) -> bool:
        """Whether the object's ciphertext has every hash that its manifest signs."""
        try:
            fd = os.open(self.object_path(stored.id), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            if os.fstat(fd).st_size != stored.stored_size:
                return False
            return all(self._sound(fd, stored, index, report) for index in range(stored.slices.segments))
        finally:
            os.close(fd)

    def opens(self, stored: StoredObject, key: bytes) -> bool:
        """Whether ``key`` is the key of the stored stream."""
        with self.object_path(stored.id).open("rb") as file:
            return fits(key, object_context(stored.raw_id), file.read(HEADER))

    def _sound(self, fd: int, stored: StoredObject, index: int, report: Report) -> bool:
        slices = stored.slices
        segment = os.pread(fd, slices.segment_size(index), slices.offset(index))
        report(Advance(slices.offset(index + 1), stored.stored_size))
        return hashlib.sha256(segment).hexdigest() == stored.segments[index]

    def _folder(self, publisher: str, name: str, version: str) -> Path:
        return self._home.models / publisher / name / version

    def _installed(self, publisher: str, manifest: Manifest) -> Installed:
        return Installed(
            publisher=publisher,
            name=manifest.name,
            version=manifest.version,
            object=manifest.model.id,
            release=manifest.release,
            role=manifest.role,
            installed_at=stamp(self._clock.now()),
        )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_MANIFEST + 1)
    except FileNotFoundError:
        raise Damaged(
            f"The manifest of {path.parent.parent.name}@{path.parent.name} is missing on this box.",
            then="Remove the model and install it again.",
        ) from None
