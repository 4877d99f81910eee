"""Making a box and pinning a publisher, stopped at every operation; and that no box in use is ever made anew."""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from lumen_box.atomic import Disk
from lumen_box.audit import Event
from lumen_box.errors import Locked, UsageError, WrongKey
from lumen_box.paths import Home
from lumen_box.trust.publisher_id import read_root
from lumen_box.usecases import enrolment, home, init
from lumen_box.usecases.appliance import Appliance
from lumen_box.usecases.box import Box
from lumen_box.vault.slots import Passphrase, Recovery
from lumen_box.vault.vault import Vault
from tests.support.crash import fail_everywhere, stop_everywhere
from tests.support.power import cut_everywhere, kill_then_cut
from tests.support.scene import ACTOR, BOX_SECRET, CHEAP, Scene, clock
from tests.usecases.aftermath import FAILURES, FOLLOWED, by_name, interrupted, outcomes, said_plainly, settled, whole
from tests.usecases.conftest import Placed

pytestmark = pytest.mark.usefixtures("small")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def make(folder: Path, disk: Disk | None = None, secret: bytes = BOX_SECRET) -> init.NewBox:
    return init.create(Home(folder / "box"), secret, name="Ward 7", cost=CHEAP, clock=clock(), disk=disk)


def usable(folder: Path) -> None:
    """The box opens, says who it is, and holds nothing but what was made."""
    with Placed(folder, box=folder / "box").appliance() as appliance:
        settled(appliance)
        assert enrolment.export(appliance.box, ACTOR).fingerprint.hex == appliance.box.identity.box_id
        first = next(iter(appliance.box.audit.entries()))
        assert (first.event, first.detail["box"]) == (Event.BOX_CREATED, appliance.box.identity.box_id)


class Making:
    """Makes a box; after it was stopped, makes it again unless it is there."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def act(self, folder: Path, disk: Disk) -> None:
        with suppress(UsageError):  # it is there already
            make(folder, disk)

    def check(self, folder: Path, *_: object) -> None:
        there = Home(folder / "box").identity.exists()
        self.seen["there" if there else "again"] += 1
        if there:
            with pytest.raises(UsageError, match="There is a box"):
                make(folder)
        else:
            made = make(folder)
            Vault.open(Home(folder / "box").vault, Recovery(made.recovery_code)).close()
        usable(folder)


@pytest.mark.slow
@pytest.mark.parametrize("torn", [False, True])
def test_init_killed_at_every_operation(place: Path, tmp_path: Path, torn: bool) -> None:
    making = Making()
    tried = stop_everywhere(place, tmp_path, making.act, making.check, torn=torn)
    print(f"killed at each of {tried} operations: {dict(making.seen)}")
    assert tried >= 70
    assert making.seen["again"] >= 70
    assert making.seen["there"] >= 2


@pytest.mark.slow
def test_init_with_the_power_cut(place: Path, tmp_path: Path) -> None:
    making = Making()
    operations, states = cut_everywhere(place, tmp_path, making.act, making.check)
    twice = kill_then_cut(place, tmp_path, making.act, making.check)
    print(f"power cut after each of {operations} operations, {states} states, {twice} of them after a kill")
    assert operations >= 70
    assert states >= 100
    assert twice >= 35


@pytest.mark.slow
def test_a_box_that_was_used_after_init_was_killed_outlives_a_power_cut(place: Path, tmp_path: Path) -> None:
    """Nobody can tell a box whose name is not durable yet from one that is: using it makes it so."""

    def act(folder: Path, disk: Disk) -> None:
        with suppress(UsageError):
            make(folder, disk)
        with Placed(folder, box=folder / "box").appliance(disk) as appliance:
            enrolment.export(appliance.box, ACTOR)

    tried = kill_then_cut(place, tmp_path, act, usable, follow=("box/box.db", "box/box.db-wal"))
    print(f"killed before each of {tried} fsyncs, used, and unplugged")
    assert tried >= 40


@pytest.mark.parametrize(("number", "operations"), FAILURES, ids=by_name(FAILURES))
def test_init_on_a_disk_that_fails(place: Path, tmp_path: Path, number: int, operations: frozenset[str]) -> None:
    making = Making()

    def check(folder: Path, error: Exception) -> None:
        said_plainly(error, number)
        making.check(folder)

    def act(folder: Path, disk: Disk) -> None:
        make(folder, disk)

    tried = fail_everywhere(place, tmp_path, act, check, errno=number, operations=operations)
    print(f"{errno.errorcode[number]} at each of {tried} operations: {dict(making.seen)}")
    assert tried >= 35


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "lock"}


def lose_identity(scene: Scene) -> None:
    scene.home.identity.unlink()


def lose_all_but_vault_and_log(scene: Scene) -> None:
    for path in scene.home.root.iterdir():
        if path not in (scene.home.vault, scene.home.audit):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def lose_all_but_empty_folders_and_log(scene: Scene) -> None:
    for path in (scene.home.identity, *scene.home.root.glob("box.db*")):
        path.unlink()
    for folder in (scene.home.trust, scene.home.models, scene.home.objects, scene.home.staging):
        shutil.rmtree(folder)
        folder.mkdir()


def lose_all_but_the_vault(scene: Scene) -> None:
    lose_all_but_vault_and_log(scene)
    shutil.rmtree(scene.home.audit)


@pytest.mark.parametrize(
    "lose",
    [
        lambda scene: None, lose_identity, lose_all_but_vault_and_log, lose_all_but_empty_folders_and_log,
        lose_all_but_the_vault,
    ],
)  # fmt: skip
def test_a_box_that_was_in_use_is_not_made_anew(scene: Scene, lose: Callable[[Scene], None]) -> None:
    lose(scene)
    before = content(scene.home.root)
    with pytest.raises(UsageError, match=r"There is a box|is not empty"):
        make(scene.folder)
    assert content(scene.home.root) == before
    Vault.open(scene.home.vault, Passphrase(BOX_SECRET)).close()


def test_of_two_inits_at_once_one_makes_the_box(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second has looked and found nothing; before it gets the lock, the first has made the box."""
    real, other = home.HomeLock, b"the other one's passphrase"

    def late(where: Home) -> home.HomeLock:
        monkeypatch.setattr(home, "HomeLock", real)
        make(place, secret=other)
        return real(where)

    monkeypatch.setattr(home, "HomeLock", late)
    with pytest.raises(UsageError, match="There is a box"):
        make(place)
    with pytest.raises(WrongKey):
        Vault.open(Home(place / "box").vault, Passphrase(BOX_SECRET))
    Vault.open(Home(place / "box").vault, Passphrase(other)).close()
    lock = real(Home(place / "box"))
    with pytest.raises(Locked):
        Box(Home(place / "box"))
    lock.release()


def test_a_folder_that_was_open_to_others_becomes_private(place: Path) -> None:
    (place / "box").mkdir(mode=0o755)
    make(place)
    usable(place)


class Pinning:
    """Pins the publisher of ``scene`` on a box that trusts nobody."""

    def __init__(self, scene: Scene) -> None:
        with scene.publisher() as workspace:
            self.root = workspace.repository().root
        self.fingerprint = read_root(self.root).fingerprint
        self.seen: Counter[str] = Counter()

    def act(self, folder: Path, disk: Disk) -> None:
        with Placed(folder, box=folder).appliance(disk) as appliance:
            self.pin(appliance)

    def pin(self, appliance: Appliance) -> None:
        appliance.publishers.pin(self.root, self.fingerprint, ACTOR)

    def check(self, folder: Path, *_: object) -> None:
        unfinished = interrupted(Home(folder), Event.TRUST_PINNED)
        with Placed(folder, box=folder).appliance() as appliance:
            whole(appliance)
            self.seen["pinned" if appliance.publishers.all() else "not pinned"] += 1
            assert not unfinished or outcomes(appliance, Event.TRUST_PINNED)[-1] == "unknown"
            self.pin(appliance)
        self.done(folder)

    def done(self, folder: Path) -> None:
        with Placed(folder, box=folder).appliance() as appliance:
            settled(appliance)
            (publisher,) = appliance.publishers.all()
            assert (publisher.root, publisher.fingerprint, publisher.alias) == (
                self.root, self.fingerprint, "demo-publisher",
            )  # fmt: skip


@pytest.fixture
def pinning(scene: Scene) -> Pinning:
    return Pinning(scene)


@pytest.fixture
def fresh(place: Path) -> Path:
    """A box that was opened once."""
    make(place)
    usable(place)
    return place / "box"


@pytest.mark.parametrize("torn", [False, True])
def test_pin_killed_at_every_operation(pinning: Pinning, fresh: Path, tmp_path: Path, torn: bool) -> None:
    tried = stop_everywhere(fresh, tmp_path, pinning.act, pinning.check, torn=torn)
    print(f"killed at each of {tried} operations: {dict(pinning.seen)}")
    assert tried >= 35
    assert pinning.seen["pinned"] >= 10
    assert pinning.seen["not pinned"] >= 20


@pytest.mark.slow
def test_pin_with_the_power_cut(pinning: Pinning, fresh: Path, tmp_path: Path) -> None:
    operations, states = cut_everywhere(fresh, tmp_path, pinning.act, pinning.check, follow=FOLLOWED)
    twice = kill_then_cut(fresh, tmp_path, pinning.act, pinning.done, follow=FOLLOWED)
    print(f"power cut after each of {operations} operations, {states} states, {twice} of them after a kill")
    assert operations >= 35
    assert states >= 50
    assert twice >= 15


@pytest.mark.parametrize(("number", "operations"), FAILURES, ids=by_name(FAILURES))
def test_pin_on_a_disk_that_fails(
    pinning: Pinning, fresh: Path, tmp_path: Path, number: int, operations: frozenset[str]
) -> None:
    def check(folder: Path, error: Exception) -> None:
        said_plainly(error, number)
        pinning.check(folder)

    tried = fail_everywhere(fresh, tmp_path, pinning.act, check, errno=number, operations=operations)
    print(f"{errno.errorcode[number]} at each of {tried} operations: {dict(pinning.seen)}")
    assert tried >= 15
