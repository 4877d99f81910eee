"""Models as they lie on the box: an object's ciphertext, as it came, and the manifest that says what it is.

    objects/<object id>                                    the stored stream
    models/<publisher id>/<name>/<version>/manifest.json   as signed

A model is installed when its manifest is in place; that is the last step of an install, a rename, and what the manifest
names is durable before it. Removing goes the other way round: the manifest goes last, so that a removal which was
interrupted can be seen and done again. What has no manifest yet is named in ``staging``.

The vault remembers the hash of every manifest that was installed, by publisher, name and version. So nobody without the
keys of this box can change a template, move a manifest to another publisher's folder, or bring a removed one back.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Container, Iterator
from pathlib import Path

from ..atomic import Disk, make_dir, publish, remove, translated, write_file
from ..bundle.limits import MAX_MANIFEST
from ..bundle.manifest import Manifest, StoredObject
from ..catalogue import Installed
from ..clock import Clock, stamp
from ..errors import Damaged, LumenError
from ..paths import Home, open_regular, read_small
from ..progress import Advance, Report
from ..sealed.stream import HEADER, fits, object_context

_NAME = "manifest.json"
_HASH = 32


class Store:
    """Reads and changes ``models/`` and ``objects/`` of one home.

    ``vouched`` gives what the vault remembers for a :func:`voucher`: the hashes of the manifests that may be there.
    """

    def __init__(self, home: Home, disk: Disk, clock: Clock, vouched: Callable[[str], bytes | None]) -> None:
        self._home, self._disk, self._clock, self._vouched = home, disk, clock, vouched

    def object_path(self, object_id: str) -> Path:
        return self._home.objects / object_id

    def manifest(self, installed: Installed) -> Manifest:
        """``Damaged`` if the manifest of an installed model is not there, or not the one that was installed."""
        data = _read(self._folder(*installed.key) / _NAME)
        if hashlib.sha256(data).digest() not in hashes(self._vouched(voucher(*installed.key))):
            raise Damaged(
                f"The manifest of {installed.name}@{installed.version} on this box is not the one that was installed.",
                kept="It was not used.",
                then="Install the model again from its medium.",
            )
        return Manifest.parse(data, path=f"models/{installed.name}/{installed.version}.json")

    def has(self, key: tuple[str, str, str]) -> bool:
        """Whether a manifest is in place, readable or not, for this publisher, name and version."""
        return (self._folder(*key) / _NAME).exists()

    def publish_object(self, staged: Path, stored: StoredObject) -> None:
        """Moves verified ciphertext to its place; what lies there already has the same id and was found unsound."""
        with translated("Moving the model to its place failed"):
            make_dir(self._disk, self._home.objects)
            publish(self._disk, staged, self.object_path(stored.id))

    def publish_manifest(self, publisher: str, manifest: Manifest, data: bytes) -> Installed:
        """Makes the model installed. The bytes stored are those that were signed.

        An object that was found in place may have been put there by a process that was killed before it was durable.
        """
        folder = self._folder(publisher, manifest.name, manifest.version)
        with translated("Installing the model failed"):
            self._disk.fsync_dir(self._home.objects)
            make_dir(self._disk, folder)
            write_file(self._disk, folder / _NAME, data)
        return self._installed(publisher, manifest)

    def remove_object(self, object_id: str) -> None:
        """Removes ciphertext, if it is there; that it is gone is durable even if another process removed it."""
        with translated("Removing the model failed"):
            remove(self._disk, self.object_path(object_id))
            self._disk.fsync_dir(self._home.objects)

    def remove_manifest(self, installed: Installed) -> None:
        """The model is no longer installed."""
        with translated("Removing the model failed"):
            remove(self._disk, self._folder(*installed.key))

    def found(self) -> Iterator[Installed]:
        """Every model whose manifest is in place. One that cannot be read is left out, and ``verify`` names it."""
        for path in sorted(self._home.models.glob(f"*/*/*/{_NAME}")):
            version, name, publisher = path.parent.name, path.parent.parent.name, path.parent.parent.parent.name
            try:
                manifest = Manifest.parse(_read(path), path=f"models/{name}/{version}.json")
            except LumenError:
                continue
            yield self._installed(publisher, manifest)

    def unnamed(self, staged: Container[str]) -> list[Path]:
        """Objects that no readable manifest names, nor the staging area: someone has touched what lies here."""
        used = {entry.object for entry in self.found()}
        there = self._home.objects.iterdir() if self._home.objects.is_dir() else ()
        return sorted(path for path in there if path.name not in used and path.name not in staged)

    def whole(self, stored: StoredObject, report: Report) -> bool:
        """Whether the object's ciphertext has every hash that its manifest signs."""
        try:
            fd = open_regular(self.object_path(stored.id))
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
        with open(open_regular(self.object_path(stored.id)), "rb") as file:
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


def voucher(publisher: str, name: str, version: str) -> str:
    """The id under which the vault remembers the manifest of a model; these three hold no slash."""
    return hashlib.sha256(f"{publisher}/{name}/{version}".encode()).hexdigest()


def hashes(remembered: bytes | None) -> list[bytes]:
    """One hash, or two while one manifest is replaced by another."""
    data = remembered or b""
    return [data[at : at + _HASH] for at in range(0, len(data), _HASH)]


def _read(path: Path) -> bytes:
    data = read_small(path, MAX_MANIFEST)
    if data is None:
        raise Damaged(
            f"The manifest of {path.parent.parent.name}@{path.parent.name} is missing on this box.",
            then="Remove the model and install it again.",
        )
    return data
