"""Installing a model against copying its bytes and hashing them: ``python -m benchmarks.install``.

The install verifies the medium, copies 64 MiB at a time and makes each durable, has the model checked in a sandbox, and
publishes it. It is timed twice: as a gateway does it that is running and unsealed, and as one command that is a box
for a moment, with its start and the passphrase's Argon2. The peer is ``cp`` and ``sha256sum`` of the same parts, which
does not wait for the disk; a second peer does. All read from the page cache, and every run begins with nothing left to
be written.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Final

from . import material
from .harness import ROOT, Aim, Side, compare, heading, python

ROUNDS: Final = 5


def main() -> None:
    medium = material.medium().relative_to(ROOT)
    home, copy = material.fresh_box().relative_to(ROOT), (material.FOLDER / "copy").relative_to(ROOT)

    def clean() -> None:
        shutil.rmtree(ROOT / copy, ignore_errors=True)
        (ROOT / copy).mkdir()
        material.fresh_box()

    within = python("-m", "benchmarks.install", str(home), str(medium))
    alone = material.lumen_box("--home", str(home), "model", "install", str(medium), material.NAME)
    peers = [
        Side("cp+sha256sum", _shell(ROOT / medium, copy, "sha256sum"), before=clean),
        Side("cp+sync+sha", _shell(ROOT / medium, copy, "sync", "sha256sum"), before=clean),
    ]
    aims = [Aim(most=1.5)]
    heading()
    title = "Install{} against cp and sha256sum of the same bytes"
    ours = Side("install", within, reports=True, before=clean)
    compare(title.format(" in a running gateway"), [ours, *peers], aims, rounds=ROUNDS)
    compare(title.format(", the whole command"), [Side("command", alone, before=clean), *peers], aims, rounds=ROUNDS)


def _shell(medium: Path, copy: Path, *then: str) -> tuple[str, ...]:
    """Copies the parts and runs further commands on the copies."""
    parts = sorted(medium.glob("lumen-medium/v1/*/objects/*/part-*"))
    copies = " ".join(shlex.quote(str(copy / part.name)) for part in parts)
    sources = " ".join(shlex.quote(str(part.relative_to(ROOT))) for part in parts)
    return "sh", "-c", " && ".join([f"cp {sources} {copy}/", *(f"{command} {copies}" for command in then)])


def one_side(home: Path, medium: Path) -> None:
    """Installs once in a box that is open already, and prints the seconds of that."""
    from lumen_box.bundle.medium import Medium
    from lumen_box.catalogue import ModelName
    from lumen_box.paths import Home
    from lumen_box.progress import silent
    from lumen_box.usecases.appliance import Appliance
    from lumen_box.usecases.box import Box
    from lumen_box.usecases.install import install
    from lumen_box.vault.slots import Passphrase

    material.environment()
    box = Box(Home(home.absolute()))
    try:
        appliance = Appliance(box)
        appliance.unlock(Passphrase(material.PASSPHRASE), "benchmark")
        with Medium.open(medium) as opened:
            began = time.perf_counter()
            install(appliance, opened, ModelName.parse(material.NAME), "benchmark", silent)
            print(json.dumps({"seconds": time.perf_counter() - began}))
    finally:
        box.close()


if __name__ == "__main__":
    one_side(Path(sys.argv[1]), Path(sys.argv[2])) if sys.argv[1:] else main()
