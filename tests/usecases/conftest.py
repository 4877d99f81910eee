"""A box with a model and a newer medium, in a form small enough to be copied for every operation of the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from lumen_box.audit import AuditLog
from lumen_box.paths import Home
from lumen_box.progress import silent
from lumen_box.publisher.model import NewModel, add_model
from lumen_box.usecases.appliance import Appliance
from tests.support.power import without_waiting
from tests.support.scene import NOW, SAYS, Scene, make_scene
from tests.support.tiny_model import write_tiny_model
from tests.usecases.aftermath import checked_once

LATER = NOW + timedelta(days=1)
OLD, NEW = "clinical@1.0.0", "clinical@1.1.0"


@dataclass(frozen=True)
class Placed(Scene):
    """A scene whose box lies elsewhere."""

    box: Path = Path()

    @property
    def home(self) -> Home:
        return Home(self.box)


@dataclass(frozen=True)
class Stage:
    """``scene.home`` has 1.0.0; ``scene.usb`` is newer and has 1.1.0 too, and ``floors`` is what it raises them to.
    ``both`` is a home where both are installed, and 1.1.0 is active."""

    scene: Scene
    floors: bytes
    both: Path

    def at(self, folder: Path) -> Placed:
        """The same scene with the box in ``folder``."""
        return Placed(self.scene.folder, box=folder)


@pytest.fixture(scope="module")
def small(_scene: Scene) -> Iterator[None]:
    """Makes every try cheap: no waiting for the kernel, small segments of the log, each model checked by the engine
    once. For the whole of a module, since a log goes on with the segments that it has; the scene of all other tests
    is made before."""
    with pytest.MonkeyPatch.context() as patch:
        without_waiting(patch)
        patch.setattr(Appliance, "check_weights", checked_once())
        patch.setitem(cast(dict[str, int], AuditLog.__init__.__kwdefaults__), "segment_size", 128 * 1024)
        yield


@pytest.fixture(scope="module")
def stage(small: None, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    scene = make_scene(tmp_path_factory.mktemp("crash") / "scene")
    scene.install()
    with scene.publisher(LATER) as workspace:
        gguf = write_tiny_model(scene.folder / "model.gguf", script=SAYS, seed=7)
        add_model(workspace, gguf, NewModel("clinical", "1.1.0", release=2, segment_chunks=6, part_segments=2), silent)
    scene.export(now=LATER)
    both = Placed(scene.folder, box=scene.folder / "both")
    shutil.copytree(scene.home.root, both.home.root)
    installed = both.install(wanted=NEW, now=LATER).installed
    with both.appliance(now=LATER) as appliance:
        appliance.box.catalogue.activate(installed, make_default=True)
        (publisher,) = appliance.publishers.all()
        return Stage(scene, appliance.publishers.floors(publisher).to_json(), both.home.root)
