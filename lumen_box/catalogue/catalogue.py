"""The catalogue: an index in the database over the manifests that lie in ``<home>/models``.

The manifests are the truth about what is installed, so the ``models`` table can always be rebuilt from them. What
only the database knows is which version is active; a change of it is one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sqlite_utils import Database

from ..clock import Clock, stamp
from ..database.connection import in_our_words
from ..errors import NoModel, NotFound, UsageError
from .names import ModelName


@dataclass(frozen=True)
class Installed:
    """One installed version. ``publisher`` is the publisher's id, ``object`` the hex id of the ciphertext."""

    publisher: str
    name: str
    version: str
    object: str
    release: int
    role: str
    installed_at: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.publisher, self.name, self.version


@dataclass(frozen=True)
class Active:
    """The active version of a model, and the one before it."""

    publisher: str
    name: str
    version: str
    previous: str | None
    activated_at: str


class Catalogue:
    """Reads and changes the index. Raises ``NotFound``, ``NoModel`` and ``UsageError`` (an ambiguous name)."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db, self._clock = database, clock

    def add(self, installed: Installed) -> None:
        with in_our_words():
            self._db.table("models").upsert(asdict(installed))

    def remove(self, installed: Installed) -> None:
        with in_our_words():
            self._db.table("models").delete(installed.key)

    def rebuild(self, found: Iterable[Installed]) -> None:
        """Makes the index agree with the manifests that are really there."""
        there = {entry.key: entry for entry in found}
        for known in self.installed():
            if known.key not in there:
                self.remove(known)
        known_keys = {entry.key for entry in self.installed()}
        for key, entry in there.items():
            if key not in known_keys:
                self.add(entry)
        for active in self.active():
            if (active.publisher, active.name, active.version) not in there:
                self.deactivate(active.publisher, active.name)

    def installed(self) -> list[Installed]:
        rows = self._db.table("models").rows_where(order_by="name, release, version")
        return [Installed(**row) for row in rows]

    def active(self) -> list[Active]:
        return [Active(**row) for row in self._db.table("active").rows_where(order_by="name")]

    def default(self, role: str) -> tuple[str, str] | None:
        """Publisher id and name of the default model of ``role``."""
        rows = list(self._db.table("defaults").rows_where("role = ?", [role]))
        return (rows[0]["publisher"], rows[0]["name"]) if rows else None

    def find(self, wanted: ModelName, aliases: dict[str, str]) -> list[Installed]:
        """Every installed version that ``wanted`` may mean, oldest first; ``aliases`` maps short names of
        publishers to their ids."""
        publisher = aliases.get(wanted.publisher, wanted.publisher) if wanted.publisher else None
        return [
            entry
            for entry in self.installed()
            if entry.name == wanted.name
            and publisher in (None, entry.publisher)
            and wanted.version in (None, entry.version)
        ]

    def one(self, wanted: ModelName, aliases: dict[str, str]) -> Installed:
        """The version that ``wanted`` means: the active one, or the only one, where no version was given."""
        found = self.find(wanted, aliases)
        if len({entry.publisher for entry in found}) > 1:
            raise UsageError(f"Several publishers have a model {wanted.name}.", then="Write publisher/name.")
        if not found:
            raise NotFound(f"The model {wanted} is not installed.", then="`lumen-box model list` shows what is.")
        if len(found) == 1:
            return found[0]
        active = self.active_version(found[0].publisher, wanted.name)
        for entry in found:
            if active and entry.version == active.version:
                return entry
        raise UsageError(
            f"{wanted} is installed in several versions: {', '.join(entry.version for entry in found)}.",
            then=f"Write {wanted.name}@VERSION.",
        )

    def active_version(self, publisher: str, name: str) -> Active | None:
        rows = list(self._db.table("active").rows_where("publisher = ? and name = ?", [publisher, name]))
        return Active(**rows[0]) if rows else None

    def require_active(self, wanted: ModelName | None, role: str, aliases: dict[str, str]) -> Installed:
        """The active version to answer with: of ``wanted``, or of the default model of ``role``."""
        if wanted is None:
            default = self.default(role)
            if default is None:
                raise _none_active(role)
            wanted = ModelName(default[1], publisher=default[0])
        found = self.find(wanted, aliases)
        for entry in found:
            active = self.active_version(entry.publisher, entry.name)
            if active and active.version == entry.version:
                return entry
        if found:
            raise NoModel(f"{wanted} is installed but not active.", then=f"Run `lumen-box model activate {wanted}`.")
        raise NotFound(f"There is no model {wanted} here.", then="`lumen-box model list` shows what is installed.")

    def activate(self, installed: Installed, *, make_default: bool) -> None:
        """One transaction: the pointer moves, the version before it is remembered."""
        before = self.active_version(installed.publisher, installed.name)
        previous = before.version if before and before.version != installed.version else None
        kept = before.previous if before and before.version == installed.version else previous
        row = Active(installed.publisher, installed.name, installed.version, kept, stamp(self._clock.now()))
        with in_our_words(), self._db.conn:
            self._db.conn.execute("BEGIN IMMEDIATE")
            self._db.table("active").upsert(asdict(row))
            # A version with another role than the one before is the default of that role no more.
            self._db.conn.execute(
                "DELETE FROM defaults WHERE publisher = ? AND name = ? AND role <> ?",
                [installed.publisher, installed.name, installed.role],
            )
            if make_default or self.default(installed.role) is None:
                self._db.table("defaults").upsert(
                    {"role": installed.role, "publisher": installed.publisher, "name": installed.name}
                )

    def deactivate(self, publisher: str, name: str) -> None:
        """Nothing answers under this name any more."""
        with in_our_words(), self._db.conn:
            self._db.conn.execute("BEGIN IMMEDIATE")
            self._db.conn.execute("DELETE FROM active WHERE publisher = ? AND name = ?", [publisher, name])
            self._db.conn.execute("DELETE FROM defaults WHERE publisher = ? AND name = ?", [publisher, name])


def _none_active(role: str) -> NoModel:
    what = "No model is active." if role == "chat" else f"No {role} model is active."
    return NoModel(what, then="Install one and run `lumen-box model activate NAME`.")
