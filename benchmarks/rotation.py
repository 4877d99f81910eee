"""A new KEK for a box with a hundred models: ``python -m benchmarks.rotation``.

Timed are the rotation alone, and one that also proves that a passphrase opens the new keyring, which takes an Argon2.
There is nothing to compare it with: no object is rewritten.
"""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from lumen_box.usecases.purposes import CONTENT
from lumen_box.vault.recovery import new_recovery_code
from lumen_box.vault.slots import Passphrase, Recovery, Unlock
from lumen_box.vault.vault import Vault

from . import material
from .harness import Aim, Side, compare, heading, python

ROUNDS: Final = 11
KEYS: Final = 100


def main() -> None:
    heading()
    side = Side("rotation", python("-m", "benchmarks.rotation", str(KEYS)), reports=True)
    compare(
        f"KEK rotation with {KEYS} content keys",
        [side],
        [Aim("proven", most=1.0, alone=True), Aim("alone")],
        rounds=ROUNDS,
    )


def one_side(keys: int) -> None:
    """Makes a vault with so many content keys, rotates its KEK twice, and prints the seconds of each."""
    passphrase = Passphrase(material.PASSPHRASE)
    slots: list[tuple[str, Unlock]] = [("passphrase", passphrase), ("recovery", Recovery(new_recovery_code()))]
    with tempfile.TemporaryDirectory(dir=material.folder()) as folder:
        vault = Vault.create(Path(folder, "vault"), slots)
        with vault.change() as change:
            for _ in range(keys):
                change.put(CONTENT, secrets.token_hex(16), secrets.token_bytes(32))
        began = time.perf_counter()
        vault.rotate_kek(passphrase)
        between = time.perf_counter()
        vault.rotate_kek()
        print(json.dumps({"proven": between - began, "alone": time.perf_counter() - between}))


if __name__ == "__main__":
    one_side(int(sys.argv[1])) if sys.argv[1:] else main()
