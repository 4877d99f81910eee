"""Every change of a publisher, stopped at every operation: it has happened, or it has not, and it can be done again."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lumen_box.atomic import Disk
from lumen_box.errors import NoBox, NoSpace
from lumen_box.progress import silent
from lumen_box.publisher.enrol import enrol
from lumen_box.publisher.model import NewModel, add_model
from lumen_box.publisher.revoke import revoke
from lumen_box.publisher.rotate import rotate
from lumen_box.publisher.workspace import Workspace
from tests.support.crash import Act, fail_everywhere, lose_everywhere, stop_everywhere

from .people import CHEAP, PASSPHRASE, Box, content

WANTED = NewModel("clinical", "2.0.0", segment_chunks=2, part_segments=1)
LATE = Box.new("Ward 8")
Change = Callable[[Workspace, Path], object]

CHANGES: dict[str, tuple[Change, int]] = {
    "add-model": (lambda workspace, gguf: add_model(workspace, gguf, WANTED, silent), 40),
    "enrol": (lambda workspace, gguf: enrol(workspace, LATE.enrolment(), LATE.fingerprint), 8),
    "revoke": (lambda workspace, gguf: revoke(workspace, model="clinical@1.0.0"), 25),
    "rotate": (lambda workspace, gguf: rotate(workspace, "targets"), 30),
}


def names(workspace: Workspace) -> dict[str, object]:
    """What of a state can be compared between runs, which draw different keys."""
    state = workspace.state
    return {
        "metadata": set(state.metadata),
        "targets": set(state.targets),
        "boxes": set(state.boxes),
        "objects": len(state.objects),
        "revoked": set(workspace.repository().revocations.bundles),
    }


def sound(workspace: Workspace) -> None:
    """All that the state names is there and fits together, nothing else is, and the keys still sign."""
    assert {path.name for path in (workspace.folder / "files").iterdir()} == workspace.state.files
    assert {path.name for path in (workspace.folder / "objects").iterdir()} == set(workspace.state.objects)
    assert not list((workspace.folder / "staging").iterdir())
    for manifest in workspace.manifests().values():
        parts = workspace.folder / "objects" / manifest.model.id
        assert sum(path.stat().st_size for path in parts.iterdir()) == manifest.model.stored_size
    workspace.enrolments()
    workspace.repository().publish(workspace.now())


@pytest.fixture
def change(request: pytest.FixtureRequest, gguf: Path) -> tuple[Act, int]:
    apply, least = CHANGES[request.param]

    def act(folder: Path, disk: Disk) -> None:
        with Workspace.open(folder, PASSPHRASE, disk=disk) as workspace:
            apply(workspace, gguf)

    return act, least


@pytest.fixture
def whole(folder: Path, tmp_path: Path, change: tuple[Act, int]) -> Callable[[Path], None]:
    """Checks that a folder, once it was opened again, is to the byte as before the change, or is as after it."""
    after = shutil.copytree(folder, tmp_path / "after" / folder.name)
    change[0](after, Disk())
    with Workspace.open(after, PASSPHRASE) as workspace:
        expected = names(workspace)
    before = content(folder)
    proved: list[dict[str, bytes]] = []

    def check(path: Path) -> None:
        with Workspace.open(path, PASSPHRASE) as workspace:
            now = content(path)
            if now["publisher.json"] == before["publisher.json"]:
                assert now == before
            elif now not in proved[-1:]:
                assert names(workspace) == expected
                sound(workspace)
                proved.append(now)

    return check


@pytest.mark.parametrize("change", list(CHANGES), indirect=True)
def test_killed_at_every_write(
    folder: Path, tmp_path: Path, change: tuple[Act, int], whole: Callable[[Path], None]
) -> None:
    tried = stop_everywhere(folder, tmp_path, change[0], whole, torn=True)
    print(f"stopped at each of {tried} operations")
    assert tried >= change[1]


@pytest.mark.parametrize("change", ["add-model", "rotate"], indirect=True)
def test_everything_lost_that_was_not_synced(
    folder: Path, tmp_path: Path, change: tuple[Act, int], whole: Callable[[Path], None]
) -> None:
    tried = lose_everywhere(folder, tmp_path, change[0], whole)
    print(f"cut the power after each of {tried} operations")
    assert tried >= change[1]


@pytest.mark.parametrize("change", ["add-model", "enrol"], indirect=True)
@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, NoSpace), (errno.EIO, OSError)])
def test_the_disk_fails_at_every_write(
    folder: Path,
    tmp_path: Path,
    change: tuple[Act, int],
    whole: Callable[[Path], None],
    number: int,
    kind: type[Exception],
) -> None:
    def check(path: Path, error: Exception) -> None:
        assert isinstance(error, kind)
        whole(path)

    tried = fail_everywhere(folder, tmp_path, change[0], check, errno=number)
    print(f"failed each of {tried} operations")
    assert tried >= 5


def test_making_a_publisher_stopped_at_every_write(tmp_path: Path) -> None:
    """Until it is whole there is none; the same command then makes it."""

    def act(folder: Path, disk: Disk) -> None:
        Workspace.create(folder / "pub", "Demo publisher", PASSPHRASE, disk=disk, cost=CHEAP).close()

    def check(folder: Path) -> None:
        try:
            Workspace.open(folder / "pub", PASSPHRASE).close()
        except NoBox:
            act(folder, Disk())
        with Workspace.open(folder / "pub", PASSPHRASE) as workspace:
            sound(workspace)

    (tmp_path / "empty").mkdir()
    tried = stop_everywhere(tmp_path / "empty", tmp_path, act, check, torn=True)
    print(f"stopped at each of {tried} operations")
    assert tried >= 40
