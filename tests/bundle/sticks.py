"""A medium with two objects for two boxes, small enough to break in every way: nine segments in three parts each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lumen_box.atomic import Disk
from lumen_box.bundle.manifest import StoredObject
from lumen_box.bundle.medium import Medium
from lumen_box.bundle.parts import write_parts
from lumen_box.bundle.recipients import seal_content_key
from lumen_box.bundle.slices import Slices
from lumen_box.bundle.writer import Carried, Export, plan, write_medium
from lumen_box.progress import silent
from lumen_box.sealed.recipient import RecipientKey

PUBLISHER = "ab" * 32
BOXES = ("a1" * 32, "b2" * 32)
SIZE = 8 * 16384 + 100
SEGMENT_CHUNKS, PART_SEGMENTS = 1, 3


@dataclass(frozen=True)
class Sealed:
    """One object with all its secrets."""

    stored: StoredObject
    plaintext: bytes
    key: bytes
    folder: Path


@dataclass(frozen=True)
class Stick:
    """A medium at ``where``, the objects on it, and the private keys of the boxes that it is for."""

    where: Path
    objects: tuple[Sealed, Sealed]
    boxes: tuple[RecipientKey, RecipientKey]
    export: Export

    @property
    def root(self) -> Path:
        return self.where / "lumen-medium" / "v1" / PUBLISHER

    def part(self, number: int, which: int = 0) -> Path:
        return self.root / "objects" / self.objects[which].stored.id / f"part-{number:04d}"

    def recipient(self, box: int, which: int = 0) -> Path:
        return self.part(1, which).parent / "recipients" / self.boxes[box].public.key_id

    def read(self, start: int = 0) -> bytes:
        """The stored bytes of the first object from segment ``start`` on."""
        with Medium.open(self.where) as medium:
            return b"".join(data for _, data in medium.segments(PUBLISHER, self.objects[0].stored, start))


def sealed(folder: Path, size: int = SIZE, *, key: bytes | None = None, identity: str | None = None) -> Sealed:
    """A new object of random bytes in ``folder``."""
    slices = Slices(size, SEGMENT_CHUNKS, PART_SEGMENTS)
    plaintext, key, identity = os.urandom(size), key or os.urandom(32), identity or os.urandom(16).hex()
    folder.mkdir(parents=True)
    hashes = write_parts(folder, [plaintext], slices, key, identity, Disk())
    return Sealed(StoredObject(identity, size, SEGMENT_CHUNKS, PART_SEGMENTS, hashes), plaintext, key, folder)


def make_stick(folder: Path) -> Stick:
    objects = (sealed(folder / "x"), sealed(folder / "y"))
    boxes = (RecipientKey.generate(), RecipientKey.generate())
    carried = [
        Carried(
            item.stored,
            item.folder,
            {
                key.public.key_id: seal_content_key(item.key, item.stored.id, box, key.public)
                for box, key in zip(BOXES, boxes, strict=True)
            },
        )
        for item in objects
    ]
    export = Export(PUBLISHER, {"1.root.json": b"root", "timestamp.json": b"time"}, TARGETS, carried)
    (media,) = plan(export, None)
    write_medium(folder / "usb", export, media, Disk(), silent)
    return Stick(folder / "usb", objects, boxes, export)


TARGET = ("models/clinical/1.0.0.json", b'{"a":1}')
TARGET_SHA256 = hashlib.sha256(TARGET[1]).hexdigest()
TARGETS = {f"models/clinical/{TARGET_SHA256}.1.0.0.json": TARGET[1]}
Change = Callable[[Stick], None]
