"""A box as far as a publisher can tell: it enrols, pins, reads media, and decrypts what is for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lumen_box.bundle.enrolment import Enrolment
from lumen_box.bundle.manifest import Manifest
from lumen_box.bundle.medium import Medium
from lumen_box.bundle.recipients import open_content_key
from lumen_box.clock import Clock, parse_stamp
from lumen_box.sealed.fingerprint import Fingerprint
from lumen_box.sealed.passphrase import Cost
from lumen_box.sealed.recipient import RecipientKey
from lumen_box.sealed.signatures import SigningKey
from lumen_box.sealed.stream import HEADER, RandomAccess, object_context
from lumen_box.trust.accepted import Accepted
from lumen_box.trust.floors import Floors
from lumen_box.trust.session import accept

PASSPHRASE = b"correct horse battery staple"
CHEAP = Cost(1, 64, 1)


@dataclass(frozen=True)
class Box:
    """The private keys of one box."""

    name: str
    identity: SigningKey
    audit: SigningKey
    recipient: RecipientKey

    @classmethod
    def new(cls, name: str) -> Box:
        return cls(name, SigningKey.generate(), SigningKey.generate(), RecipientKey.generate())

    @property
    def fingerprint(self) -> Fingerprint:
        return self.identity.public.fingerprint

    def enrolment(self, sequence: int = 1) -> bytes:
        public = self.identity.public
        return Enrolment(self.name, sequence, public, self.audit.public, self.recipient.public).sign(self.identity)

    def model(self, where: Path, root: bytes, name: str = "clinical", version: str = "1.0.0") -> bytes:
        """The plaintext of a model on the medium at ``where``, everything on the way verified."""
        accepted = read(where, root)
        path = f"models/{name}/{version}.json"
        with Medium.open(where) as medium:
            publisher = accepted.publisher_id
            manifest = Manifest.parse(medium.target(publisher, path, accepted.target(path).sha256), path)
            stored = manifest.model
            segments = [data for _, data in medium.segments(publisher, stored)]
            file = medium.recipient(publisher, stored.id, self.recipient.public.key_id)
        key = open_content_key(file, stored, self.fingerprint.hex, self.recipient, segments[0])
        stream = memoryview(b"".join(segments))
        reader = RandomAccess(key, object_context(stored.raw_id), bytes(stream[:HEADER]), len(stream))
        out = bytearray(reader.plain_size)
        reader.decrypt(0, stream[HEADER:], memoryview(out))
        return bytes(out)


def read(where: Path, root: bytes, *, now: str | None = None, floors: Floors | None = None) -> Accepted:
    """The metadata of the one publisher on a medium, as a box accepts it that pinned ``root``."""
    with Medium.open(where) as medium:
        (publisher,) = medium.publishers()

        def fetch_target(path: str, sha256: str) -> bytes:
            return medium.target(publisher, path, sha256)

        return accept(
            pinned_root=root,
            known={},
            fetch=lambda name: medium.fetch_metadata(publisher, name),
            fetch_target=fetch_target,
            now=Clock().now() if now is None else parse_stamp(now),
            floors=floors,
        )


def clock_at(text: str) -> Clock:
    moment: datetime = parse_stamp(text)
    return Clock(now=lambda: moment)


def content(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
