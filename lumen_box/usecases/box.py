"""The box as one process sees it while it holds the home: what is open, what is sealed, and who watches.

Opening needs no keys: socket, health and refusals work while the box is sealed. Everything that needs a key asks
:meth:`Box.vault`, which raises ``Sealed``.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from .. import config
from ..accounts.tokens import Tokens
from ..atomic import Disk, sweep
from ..audit import AuditLog, Event
from ..audit.events import Entry
from ..audit.log import BOX
from ..catalogue import Catalogue
from ..clock import Clock
from ..database import open_database
from ..errors import Damaged, Locked, LumenError, Sealed
from ..paths import Home
from ..vault.change import Change
from ..vault.slots import Unlock
from ..vault.vault import Vault
from .home import HomeLock, Identity, check_private, read_identity

MAX_REPAIR = 400  # characters of the log for one copy that was written again
PATIENCE = 60.0  # seconds that closing waits for a use case to notice that it is to stop

log = logging.getLogger(__name__)


class Box:
    """Everything behind the one door. Close it, or the lock stays until the process ends.

    Raises:
        NoBox, NotAllowed, Locked, Damaged: on opening.
    """

    def __init__(self, home: Home, *, clock: Clock | None = None, disk: Disk | None = None) -> None:
        self.home, self.clock, self.disk = home, clock or Clock(), disk or Disk()
        self.identity = read_identity(home)
        check_private(home)
        self.settings = config.load(home.settings)
        with contextlib.ExitStack() as undo:
            lock = HomeLock(home)
            undo.callback(lock.release)
            _clear(self.disk, home)
            # Two connections: tokens are looked up on the event loop while a use case writes in a thread of its own,
            # and a transaction belongs to a connection.
            catalogue, tokens = open_database(home.database), open_database(home.database)
            undo.callback(catalogue.close)
            undo.callback(tokens.close)
            self.audit = AuditLog(home.audit, disk=self.disk, clock=self.clock)
            undo.callback(self.audit.close)
            _check_begin(self.audit, self.identity)
            self.catalogue = Catalogue(catalogue, self.clock)
            self.tokens = Tokens(tokens, self.clock)
            self._undo = undo.pop_all()
        self._vault: Vault | None = None
        self._administration = threading.Lock()

    def close(self) -> None:
        """Seals the box and lets go of the home, after the use case that may be at work in another thread."""
        self._administration.acquire(timeout=PATIENCE)
        if self._vault:
            self._vault.close()
            self._vault = None
        self._undo.close()

    @property
    def sealed(self) -> bool:
        return self._vault is None

    @property
    def vault(self) -> Vault:
        """The open vault; ``Sealed`` before anybody unlocked the box."""
        if self._vault is None:
            raise Sealed(
                "The box is sealed: its keys are not available.",
                kept="Nothing was changed.",
                then="Run `lumen-box unlock`.",
            )
        return self._vault

    def unlock(self, key: Unlock, actor: str = BOX) -> None:
        """Opens the vault. Raises ``WrongKey``, ``Damaged``, or ``Stale`` if the keyring is older than the log says."""
        if self._vault is not None:
            return
        recorded = self.audit.last(Event.KEYRING_CHANGED)
        newest = _sequence(recorded) if recorded else 0
        with contextlib.ExitStack() as undo:
            with self.audit.act(Event.UNSEALED, actor) as learned:
                vault = Vault.open(self.home.vault, key, disk=self.disk, clock=self.clock, least_sequence=newest)
                undo.callback(vault.close)
                learned["sequence"] = vault.sequence
            for repair in vault.repairs:
                log.warning("The keyring was repaired: %s", repair)
                self.audit.record(Event.KEYRING_REPAIRED, BOX, what=repair[:MAX_REPAIR])
            if vault.sequence > newest:  # a change that was interrupted before it was recorded
                self._record_keyring(vault, BOX)
            undo.pop_all()
        self._vault = vault

    def seal(self, actor: str = BOX) -> None:
        """Forgets the keys."""
        if self._vault is not None:
            self._vault.close()
            self._vault = None
            self.audit.record(Event.SEALED, actor)

    @contextlib.contextmanager
    def keyring_change(self, actor: str) -> Iterator[Change]:
        """One durable change of the keyring, which the log then records with its number."""
        with self.rewriting(actor) as vault, vault.change() as change:
            yield change

    @contextlib.contextmanager
    def rewriting(self, actor: str) -> Iterator[Vault]:
        """The vault, to be changed once in the block.

        The log records the keyring's new number also where the block fails after the change was made.
        """
        vault = self.vault
        before = vault.header.sequence
        try:
            yield vault
        except Exception:
            if vault.header.sequence != before:
                with contextlib.suppress(OSError, LumenError):  # the next start records it
                    self._record_keyring(vault, actor)
            raise
        if vault.header.sequence != before:
            self._record_keyring(vault, actor)

    def _record_keyring(self, vault: Vault, actor: str) -> None:
        header = vault.header  # there although somebody may have sealed the box meanwhile
        self.audit.record(Event.KEYRING_CHANGED, actor, sequence=header.sequence, generation=header.generation)

    @contextlib.contextmanager
    def administration(self) -> Iterator[None]:
        """One administrative act at a time; a second one gets ``Locked`` instead of waiting for hours."""
        if not self._administration.acquire(blocking=False):
            raise Locked(
                "Another administrative command is under way on this box.",
                kept="Nothing was changed.",
                then="Wait until it has finished and try again.",
            )
        try:
            yield
        finally:
            self._administration.release()


def _check_begin(audit: AuditLog, identity: Identity) -> None:
    """``Damaged`` where the log was taken away, or is another box's: a new one must not look as if nothing was done."""
    first = next(audit.entries(), None)
    if first is None or first.event != Event.BOX_CREATED or first.detail.get("box") != identity.box_id:
        raise _log_damaged("it does not begin with the making of this box")


def _sequence(entry: Entry) -> int:
    sequence = entry.detail.get("sequence")
    if not isinstance(sequence, int):
        raise _log_damaged(f"line {entry.seq} lacks the number of the keyring")
    return sequence


def _log_damaged(why: str) -> Damaged:
    return Damaged(
        f"The audit log is damaged: {why}.",
        kept="The box was not opened.",
        then="Keep a copy of the audit folder for the auditor and restore it from a backup.",
    )


def _clear(disk: Disk, home: Home) -> None:
    """Clears away what killed processes left half written, at any depth, durably before anything is built upon it."""
    sweep(disk, home.root)
    folders = [home.vault, home.trust, home.models, home.objects, home.staging]
    while folders:
        folder = folders.pop()
        if any(path.name.startswith(".") for path in folder.iterdir()):
            sweep(disk, folder)
            disk.fsync_dir(folder)
        folders += [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
