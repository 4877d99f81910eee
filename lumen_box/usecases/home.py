"""A home: made once, then held by one process at a time."""

from __future__ import annotations

import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path

from .. import strictjson
from ..atomic import PRIVATE_DIR, Disk, make_dir, write_file
from ..errors import Damaged, Locked, NoBox, NotAllowed, UsageError
from ..paths import Home, read_small

FORMAT = 1
MAX_IDENTITY = 4096  # bytes of box.json
FIRST_LINES = 2  # what ``init`` itself writes into the log


@dataclass(frozen=True)
class Identity:
    """Who the box is. ``box_id`` is the hex fingerprint of its identity key, for ever."""

    box_id: str
    name: str
    created: str


def read_identity(home: Home) -> Identity:
    """The identity of the box at ``home``; ``NoBox`` if there is none."""
    try:
        data = read_small(home.identity, MAX_IDENTITY)
    except PermissionError:
        raise NotAllowed(
            f"You may not open the home {home.root}.", then="Run the command as the user the box belongs to."
        ) from None
    if data is None:
        raise NoBox(f"There is no box in {home.root}.", then="Run `lumen-box init` to make one.")
    try:
        return _identity(data)
    except Damaged as error:
        raise Damaged(
            error.what, kept="The box was not opened.", then="Bring box.json back from a backup of this home."
        ) from None


def _identity(data: bytes) -> Identity:
    fields = strictjson.Fields(strictjson.loads(data, what="box.json", max_bytes=MAX_IDENTITY), "box.json of this home")
    fields.one_of("format", [f"lumen-box/home/v{FORMAT}"])
    identity = Identity(
        box_id=fields.text("box_id", pattern=r"[0-9a-f]{64}"), name=fields.text("name"), created=fields.text("created")
    )
    fields.end()
    return identity


def write_identity(home: Home, identity: Identity, disk: Disk) -> None:
    """The last file that ``init`` writes: with it the box exists."""
    value = {"format": f"lumen-box/home/v{FORMAT}", **identity.__dict__}
    write_file(disk, home.identity, strictjson.dumps(value))


def prepare(home: Home, disk: Disk) -> HomeLock:
    """Makes the folders of a new home, and holds it; refuses one that holds anything already.

    Looked at twice, before anything is touched and under the lock: another ``init`` may have finished in between.
    """
    refuse_taken(home)
    make_dir(disk, home.root)
    lock = HomeLock(home)
    try:
        refuse_taken(home)
        home.root.chmod(PRIVATE_DIR)
        for folder in _folders(home):
            make_dir(disk, folder)
    except BaseException:
        lock.release()
        raise
    return lock


def _folders(home: Home) -> tuple[Path, ...]:
    return home.vault, home.trust, home.models, home.objects, home.staging, home.audit, home.run


def refuse_taken(home: Home) -> None:
    """``UsageError`` if no box can be made in ``home``, because there is one or anything else."""
    if home.identity.exists():
        raise UsageError(
            f"There is a box in {home.root} already.",
            kept="It was not touched.",
            then="If it was never used because making it was interrupted, remove the folder and make it again.",
        )
    if home.root.exists() and not _only_leftovers(home):
        raise UsageError(
            f"{home.root} is not empty.", kept="It was not touched.", then="Choose a folder that does not exist yet."
        )


def _only_leftovers(home: Home) -> bool:
    """Whether all there is comes from an ``init`` that was interrupted, so that nothing in it was ever in use.

    What was in use has a database, or models, or a log that goes on; a vault alone was brought here from elsewhere.
    """
    if not home.root.is_dir():
        return False
    ours = {folder.name for folder in _folders(home)} | {home.lock.name}
    if not all(entry.name in ours or re.fullmatch(r"\..*\.tmp", entry.name) for entry in home.root.iterdir()):
        return False
    if any(_holds_anything(folder) for folder in (home.trust, home.models, home.objects, home.staging)):
        return False
    if _holds_anything(home.vault) and not all(folder.is_dir() for folder in _folders(home)):
        return False
    logged = (path.read_bytes().partition(b"\0")[0] for path in home.audit.glob("*.log"))
    return sum(data.count(b"\n") for data in logged) <= FIRST_LINES


def _holds_anything(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


class HomeLock:
    """Held while a process has the home open. The kernel lets go of it when the process ends, however it ends."""

    def __init__(self, home: Home) -> None:
        self._fd = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise Locked(
                "Another process works on this box.",
                kept="Nothing was changed.",
                then="Wait until it has finished, or use the running gateway.",
            ) from None

    def release(self) -> None:
        os.close(self._fd)


def check_private(home: Home) -> None:
    """A home that others may enter is refused: its secrets are encrypted, its metadata is not."""
    mode = home.root.stat().st_mode & 0o077
    if mode:
        raise NotAllowed(
            f"The home {home.root} can be entered by other users (mode {mode:03o}).",
            kept="It was not opened.",
            then=f"Run `chmod 700 {home.root}` and try again.",
        )
