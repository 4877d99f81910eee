"""A publisher, a box that trusts it, and media: made once a session, copied for every test.

Small segments and parts, so that a model of 300 kB has several of each; a cheap passphrase, so that opening takes
milliseconds. Everything is real: keys, signatures, encryption, the engine in its sandbox.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from lumen_box.atomic import Disk
from lumen_box.bundle.medium import Medium
from lumen_box.catalogue import ModelName
from lumen_box.clock import Clock
from lumen_box.paths import Home
from lumen_box.progress import Report, silent
from lumen_box.publisher.enrol import enrol
from lumen_box.publisher.export import export
from lumen_box.publisher.model import NewModel, add_model
from lumen_box.publisher.workspace import Workspace
from lumen_box.sealed.passphrase import Cost
from lumen_box.trust.publisher_id import read_root
from lumen_box.usecases import enrolment, init
from lumen_box.usecases.appliance import Appliance
from lumen_box.usecases.box import Box
from lumen_box.usecases.install import InstallResult, install
from lumen_box.vault.slots import Passphrase

from .tiny_model import write_tiny_model

CHEAP = Cost(iterations=1, memory_kib=64, lanes=1)
PUBLISHER_SECRET, BOX_SECRET = b"the publisher's passphrase", b"the box's passphrase"
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ACTOR = "uid:0"
STRICT = '[engine]\nsandbox = "required"\n'  # a test must not pass because an engine was confined less
SAYS = ("Good", " morning", ".")


def clock(now: datetime = NOW) -> Clock:
    return Clock(now=lambda: now)


@dataclass(frozen=True)
class Scene:
    """``pub``, ``box`` and ``usb`` below one folder. ``usb`` holds ``clinical@1.0.0``; nothing is installed yet."""

    folder: Path
    recovery: str = ""

    @property
    def pub(self) -> Path:
        return self.folder / "pub"

    @property
    def usb(self) -> Path:
        return self.folder / "usb"

    @property
    def home(self) -> Home:
        return Home(self.folder / "box")

    def copy(self, folder: Path) -> Scene:
        shutil.copytree(self.folder, folder, symlinks=True)
        return replace(self, folder=folder)

    @contextlib.contextmanager
    def publisher(self, now: datetime = NOW) -> Iterator[Workspace]:
        with Workspace.open(self.pub, PUBLISHER_SECRET, clock=clock(now)) as workspace:
            yield workspace

    @contextlib.contextmanager
    def appliance(self, disk: Disk | None = None, now: datetime = NOW) -> Iterator[Appliance]:
        """The box, open and unlocked. Engines that it starts are closed with it."""
        box = Box(self.home, clock=clock(now), disk=disk)
        try:
            appliance = Appliance(box)
            appliance.unlock(Passphrase(BOX_SECRET), ACTOR)
            yield appliance
        finally:
            box.close()

    def add(self, version: str, *, name: str = "clinical", now: datetime = NOW, **said: object) -> None:
        """Another version with weights of its own, not exported yet."""
        with tempfile.TemporaryDirectory() as scratch, self.publisher(now) as workspace:
            gguf = write_tiny_model(Path(scratch, "model.gguf"), script=SAYS, seed=len(version))
            add_model(workspace, gguf, new_model(name, version, **said), silent)

    def export(self, where: Path | None = None, now: datetime = NOW, capacity: int | None = None) -> list[Path]:
        with self.publisher(now) as workspace:
            return [written.path for written in export(workspace, where or self.usb, silent, capacity=capacity)]

    def install(
        self,
        medium: Path | None = None,
        wanted: str | None = "clinical@1.0.0",
        *,
        disk: Disk | None = None,
        now: datetime = NOW,
        allow_expired: bool = False,
        report: Report = silent,
    ) -> InstallResult:
        """What ``model install`` does, in this process."""
        name = ModelName.parse(wanted) if wanted else None
        with self.appliance(disk, now) as appliance, Medium.open(medium or self.usb) as opened:
            return install(appliance, opened, name, ACTOR, report, allow_expired=allow_expired)


def new_model(name: str, version: str, **said: object) -> NewModel:
    """Three parts of three segments each, for the tiny model."""
    return NewModel(name, version, segment_chunks=2, part_segments=3, **said)  # type: ignore[arg-type]


def make_scene(folder: Path) -> Scene:
    """A new scene in ``folder``, which does not exist yet; under a second."""
    scene = Scene(folder)
    folder.mkdir(mode=0o700, parents=True)
    made = init.create(scene.home, BOX_SECRET, name="Ward 7", cost=CHEAP, clock=clock())
    settings = scene.home.root / "settings.toml"
    settings.touch(mode=0o600)
    settings.write_text(STRICT)
    with Workspace.create(scene.pub, "Demo publisher", PUBLISHER_SECRET, cost=CHEAP, clock=clock()) as workspace:
        root = workspace.repository().root
    with scene.appliance() as appliance:
        appliance.publishers.pin(root, read_root(root).fingerprint, ACTOR)
        enrolled = enrolment.export(appliance.box, ACTOR)
    with scene.publisher() as workspace:
        enrol(workspace, enrolled.data, enrolled.fingerprint)
    scene.add("1.0.0")
    scene.export()
    return replace(scene, recovery=made.recovery_code)
