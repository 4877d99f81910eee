"""What must hold of a box at any moment, whatever was interrupted, and what must hold once nothing is under way."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

from lumen_box.audit import Event
from lumen_box.bundle.manifest import Manifest
from lumen_box.catalogue import ModelName
from lumen_box.errors import NoSpace
from lumen_box.paths import Home
from lumen_box.progress import silent
from lumen_box.usecases import describe
from lumen_box.usecases.appliance import Appliance
from lumen_box.usecases.purposes import CONTENT, MANIFEST
from lumen_box.usecases.store import voucher
from tests.support.crash import GROWING
from tests.support.scene import ACTOR

FOLLOWED = ("box.db", "box.db-wal")  # SQLite makes these durable by itself


FAILURES = [(errno.ENOSPC, GROWING), (errno.EIO, frozenset({"fsync", "fsync_dir"}))]


def checked_once() -> object:
    """The sandboxed check of a model, run for each content once: it changes nothing on the disk, and the same bytes,
    key and manifest have the same result every time."""
    real, sound = Appliance.check_weights, set()

    def check_weights(self: Appliance, path: Path, key: bytes, manifest: Manifest) -> None:
        what = hashlib.sha256(path.read_bytes() + key + manifest.to_bytes()).digest()
        if what not in sound:
            real(self, path, key, manifest)
            sound.add(what)

    return check_weights


def names(appliance: Appliance) -> list[str]:
    return [f"{entry.name}@{entry.version}" for entry in appliance.box.catalogue.installed()]


def whole(appliance: Appliance) -> None:
    """Catalogue, models, objects, keys and log agree, and nothing lies about that nobody would ever clear away."""
    box, home = appliance.box, appliance.box.home
    found = {entry.key: entry for entry in appliance.store.found()}
    assert {entry.key for entry in box.catalogue.installed()} == set(found)
    staged = {path.name for path in home.staging.iterdir()}
    known = {entry.object for entry in found.values()} | staged
    assert {path.name for path in home.objects.iterdir()} <= known, "an object that nothing names"
    assert set(box.vault.ids(CONTENT)) <= known, "a key that nothing names"
    hidden = {str(path.relative_to(home.root)) for path in home.root.rglob(".*")}
    assert hidden == set(), "left by an interrupted write"
    log_is_whole(appliance)


def log_is_whole(appliance: Appliance) -> None:
    """Every intent has one outcome, and the log knows the number of the keyring in use."""
    entries = list(appliance.box.audit.entries())
    intents = [entry.seq for entry in entries if entry.phase == "intent"]
    assert sorted(entry.of for entry in entries if entry.phase == "outcome" and entry.of is not None) == intents
    changes = [entry.detail["sequence"] for entry in entries if entry.event == Event.KEYRING_CHANGED]
    assert changes[-1] == appliance.box.vault.sequence


def settled(appliance: Appliance) -> None:
    """Beyond that: nothing is staged, and objects and keys are exactly those of the installed models."""
    whole(appliance)
    home, used = appliance.box.home, {entry.object for entry in appliance.store.found()}
    assert list(home.staging.iterdir()) == []
    assert {path.name for path in home.objects.iterdir()} == used == set(appliance.box.vault.ids(CONTENT))
    assert not [path for path in home.models.glob("*/*/*") if not any(path.iterdir())]
    vouched = {voucher(*entry.key) for entry in appliance.box.catalogue.installed()}
    assert set(appliance.box.vault.ids(MANIFEST)) == vouched
    assert {len(appliance.box.vault.get(MANIFEST, id)) for id in vouched} <= {32}


def sound(appliance: Appliance, *models: str) -> None:
    """These models are listed, and every byte of them is right."""
    assert set(models) <= set(names(appliance))
    for model in models:
        describe.verify(appliance, ModelName.parse(model), ACTOR, silent)


def outcomes(appliance: Appliance, event: Event) -> list[str]:
    """The outcome of every act of that kind, oldest first."""
    return [str(e.outcome) for e in appliance.box.audit.entries() if e.event == event and e.phase == "outcome"]


def interrupted(home: Home, event: Event) -> bool:
    """Whether the log, looked at before anybody opens it, ends in an act of that kind without an outcome."""
    data = b"".join(path.read_bytes().partition(b"\0")[0] for path in sorted(home.audit.glob("*.log")))
    mentions = [line for line in data.split(b"\n") if f'"event":"{event}"'.encode() in line]
    return bool(mentions) and b'"phase":"intent"' in mentions[-1] and mentions[-1].endswith(b"}")


def by_name(failures: list[tuple[int, frozenset[str]]]) -> list[str]:
    return [errno.errorcode[number] for number, _ in failures]


def said_plainly(error: Exception, number: int) -> None:
    """A full disk is ``NoSpace``, with a sentence; what the disk could not do is the system's own error."""
    if number == errno.ENOSPC:
        assert isinstance(error, NoSpace), repr(error)
        assert error.kept and error.then
    else:
        assert isinstance(error, OSError) and error.errno == number, repr(error)
