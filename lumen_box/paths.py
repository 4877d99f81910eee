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
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
