"""The result of accepting a medium's metadata, and the files that it vouches for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tuf.api.metadata import TargetFile  # type: ignore[attr-defined]

from ..errors import Damaged, NotFound
from .floors import Observed
from .layout import TargetPath
from .parts import AGAIN, KEPT
from .revocations import Revocations


@dataclass(frozen=True)
class Target:
    """A file that the publisher lists: its length in bytes and its SHA-256 in hex."""

    path: TargetPath
    length: int
    sha256: str

    @classmethod
    def of(cls, file: TargetFile) -> Target:
        """The same in TUF's words."""
        return cls(TargetPath.parse(file.path), file.length, file.hashes["sha256"])

    def verified(self, data: bytes | None) -> bytes:
        """``data`` if these are the signed bytes; ``Damaged`` if not, or if there are none."""
        if data is None:
            raise Damaged(f"The medium lacks the file {self.path}.", kept=KEPT, then="Export the medium again.")
        if len(data) != self.length or hashlib.sha256(data).hexdigest() != self.sha256:
            raise Damaged(f"The file {self.path} is not the one that was signed.", kept=KEPT, then=AGAIN)
        return data


@dataclass(frozen=True)
class Accepted:
    """Metadata that holds together, is signed as it should be, and is not below any floor.

    ``files`` is what to keep and to hand back as ``known`` next time; ``expired`` names the roles whose metadata had
    expired, which is only ever not empty where that was allowed, and belongs in the audit log then.
    """

    publisher_id: str
    publisher: str
    root: bytes
    files: Mapping[str, bytes]
    targets: Mapping[str, Target]
    revocations: Revocations
    observed: Observed
    signed_at: datetime
    expired: tuple[str, ...]

    def target(self, path: str) -> Target:
        """``NotFound`` if the publisher does not list ``path``."""
        if path not in self.targets:
            raise NotFound(f"The publisher does not list {path[:200]}.")
        return self.targets[path]

    def verified(self, path: str, data: bytes | None) -> bytes:
        """``data`` if these are the signed bytes of the target ``path``; ``Damaged`` if not, or if there are none."""
        return self.target(path).verified(data)
