"""Where everything lies below the home of a box. The gateway alone opens these.

<home>/
  box.json                 format, box id, name
  lock                     one process at a time
  settings.toml            what the administrator has set (optional)
  vault/keyring.a|b        the two copies of the keyring
  trust/<publisher id>/    pinned root, accepted metadata
  models/<publisher id>/<name>/<version>/   manifest.json
  objects/<object id>      one ciphertext stream each, as it came
  staging/                 installs under way
  audit/                   segments of the log
  box.db                   catalogue, tokens
  run/                     sockets, log of the detached gateway

What is read back must be a regular file of a bounded size: a FIFO, a device or a link in its place is damage, and
neither waited for nor followed.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from .errors import Damaged


@dataclass(frozen=True)
class Home:
    root: Path

    @property
    def identity(self) -> Path:
        return self.root / "box.json"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def settings(self) -> Path:
        return self.root / "settings.toml"

    @property
    def vault(self) -> Path:
        return self.root / "vault"

    @property
    def trust(self) -> Path:
        return self.root / "trust"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def staging(self) -> Path:
        return self.root / "staging"

    @property
    def audit(self) -> Path:
        return self.root / "audit"

    @property
    def database(self) -> Path:
        return self.root / "box.db"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def socket(self) -> Path:
        return self.run / "gateway.sock"

    @property
    def handover(self) -> Path:
        """Where a command hands over an open directory (SCM_RIGHTS)."""
        return self.run / "handover.sock"

    @property
    def log(self) -> Path:
        return self.run / "gateway.log"


_SOMETHING_ELSE = frozenset({errno.ELOOP, errno.ENXIO})  # a link; a socket


def open_regular(path: Path) -> int:
    """A descriptor of a regular file, for reading. ``Damaged`` for anything else, ``OSError`` as ``os.open``."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _SOMETHING_ELSE:
            raise _no_file(path) from None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _no_file(path)
    return fd


def read_small(path: Path, most: int) -> bytes | None:
    """The bytes of a regular file, one more than ``most`` of a larger one, or None where there is no file."""
    try:
        fd = open_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with open(fd, "rb") as file:
        return file.read(most + 1)


def _no_file(path: Path) -> Damaged:
    return Damaged(
        f"{path.name}, in the home of this box, is not a regular file.",
        kept="It was not used.",
        then="Somebody has changed it: find out who, and bring it back from a backup.",
    )
