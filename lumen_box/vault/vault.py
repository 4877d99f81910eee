"""The vault: secrets by purpose and id, kept under one KEK that any slot opens.

Every change is one new keyring with the next sequence number: staged, proven, switched, and the old one destroyed
(``store``). Stopped anywhere, the vault is afterwards either as before or as changed. The sequence number also goes
into the audit log, so that a vault which was moved back whole is noticed by whoever compares (``least_sequence``).
"""

from __future__ import annotations

import contextlib
import secrets as random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..atomic import Disk, make_dir
from ..clock import Clock, stamp
from ..errors import Damaged, NotFound, Sealed, Stale, UsageError
from ..sealed import envelope
from ..sealed.passphrase import Cost
from . import rotation, store
from .change import RESERVED, Change, missing
from .keyring import Entry, Header, Keyring, encode, open_body, peek
from .opening import heal, open_newest
from .rotation import SLOT
from .slots import MAX_SLOTS, Slot, SlotInfo, SlotKeys, Unlock, new_slot, seal_kek


@dataclass(frozen=True)
class _State:
    """What is there only while the vault is open."""

    keyring: Keyring = field(repr=False)
    kek: bytes = field(repr=False)

    def entry(self, purpose: str, id: str, version: int, secret: bytes) -> Entry:
        bare = Entry(purpose, id, version, b"")
        return replace(bare, wrapped=envelope.wrap(self.kek, secret, bare.label(self.keyring.header.generation)))


class Vault:
    """An open vault. One process at a time may hold it, which the lock on the home sees to; its threads may share it.

    ``repairs`` has a sentence for every copy of the keyring that had to be healed when the vault was opened.
    """

    def __init__(self, folder: Path, state: _State, disk: Disk, clock: Clock) -> None:
        self._folder, self._disk, self._clock = folder, disk, clock
        self._state: _State | None = state
        self._header = state.keyring.header
        self._attempted = state.keyring.header.sequence
        self._lock = threading.RLock()
        self._changing = False
        self.repairs: tuple[str, ...] = ()

    @classmethod
    def create(
        cls,
        folder: Path,
        slots: Sequence[tuple[str, Unlock]],
        *,
        disk: Disk | None = None,
        clock: Clock | None = None,
        cost: Cost | None = None,
    ) -> Vault:
        """A new vault in ``folder``, with a slot for each label and secret; ``UsageError`` if there is one already."""
        disk, clock = disk or Disk(), clock or Clock()
        if store.exists(folder):
            raise UsageError("There is a vault here already.", kept="It was not touched.")
        if not 1 <= len(slots) <= MAX_SLOTS:
            raise UsageError(f"A vault has 1 to {MAX_SLOTS} slots.")
        made = [new_slot(label, unlock, stamp(clock.now()), cost or Cost()) for label, unlock in slots]
        make_dir(disk, folder)
        store.clear(disk, folder)
        empty = Keyring(Header(random.token_hex(16), 0, 1, ()), {})
        vault = cls(folder, _State(empty, envelope.new_key()), disk, clock)
        vault._commit(vault._with_slots(made), unlocks=[unlock for _, unlock in slots])
        return vault

    @classmethod
    def open(
        cls,
        folder: Path,
        unlock: Unlock,
        *,
        disk: Disk | None = None,
        clock: Clock | None = None,
        least_sequence: int = 0,
    ) -> Vault:
        """Opens the newest copy, and heals the other from it.

        Raises:
            NoBox: there is no keyring.
            WrongKey: no slot opens with ``unlock``.
            Damaged: neither copy is whole.
            Stale: the keyring is older than ``least_sequence``, so the whole vault was moved back.
        """
        copies = store.read_copies(folder)
        chosen, keyring, kek = open_newest(copies, unlock)
        if chosen.sequence < least_sequence:
            raise Stale(
                f"The vault was moved back: its sequence is {chosen.sequence}, and {least_sequence} was seen before.",
                kept="Nothing was changed.",
                then="Bring back the newest copy of the vault.",
            )
        disk = disk or Disk()
        vault = cls(folder, _State(keyring, kek), disk, clock or Clock())
        vault.repairs = heal(disk, folder, chosen, copies)
        return vault

    @staticmethod
    def slots_of(folder: Path) -> list[SlotInfo]:
        """The slots of a vault that may be sealed; nothing vouches for them until it is opened."""
        newest = store.read_copies(folder)[0]
        return [slot.info for slot in newest.stored.header.slots] if newest.stored else []

    def close(self) -> None:
        """Forgets the keys; whatever is asked afterwards is answered ``Sealed``."""
        with self._lock:
            self._state = None

    @property
    def header(self) -> Header:
        """The header of the keyring as it was last written. There also when the vault is closed: it holds no secret."""
        return self._header

    @property
    def sequence(self) -> int:
        return self._open().keyring.header.sequence

    @property
    def generation(self) -> int:
        return self._open().keyring.header.generation

    @property
    def slots(self) -> list[SlotInfo]:
        return [slot.info for slot in self._open().keyring.header.slots]

    def get(self, purpose: str, id: str) -> bytes:
        """The secret; ``NotFound`` if there is none."""
        secret = self.get_or_none(purpose, id)
        if secret is None:
            raise missing(purpose, id)
        return secret

    def get_or_none(self, purpose: str, id: str) -> bytes | None:
        state = self._open()
        entry = state.keyring.entries.get((purpose, id))
        if entry is None or purpose in RESERVED:
            return None
        return envelope.unwrap(state.kek, entry.wrapped, entry.label(state.keyring.header.generation))

    def ids(self, purpose: str) -> list[str]:
        """The ids of one purpose, sorted."""
        return sorted(id for kind, id in self._open().keyring.entries if kind == purpose and kind not in RESERVED)

    def version(self, purpose: str, id: str) -> int:
        """The sequence of the keyring with which this secret was last put; ``NotFound`` if there is none."""
        entry = self._open().keyring.entries.get((purpose, id))
        if entry is None or purpose in RESERVED:
            raise missing(purpose, id)
        return entry.version

    @contextlib.contextmanager
    def change(self) -> Iterator[Change]:
        """One durable change of several secrets, made when the block ends; none of it if the block raises."""
        with self._exclusive() as state:
            change = Change(state.keyring.entries.keys())
            yield change
            if change.wanted:
                self._commit(self._changed(state, change))

    def add_slot(self, label: str, unlock: Unlock, *, cost: Cost | None = None) -> SlotInfo:
        """Another way to open the vault, proven before it counts."""
        with self._exclusive() as state:
            if len(state.keyring.header.slots) >= MAX_SLOTS:
                raise UsageError(f"A vault has at most {MAX_SLOTS} slots.", then="Remove one first.")
            made = new_slot(label, unlock, stamp(self._clock.now()), cost or Cost())
            self._commit(self._with_slots([made]), unlocks=[unlock])
            return made[0].info

    def remove_slot(self, id: str) -> None:
        """Removes a slot, and rotates the KEK: the removed slot still opens old copies of the keyring."""
        with self._exclusive() as state:
            header = state.keyring.header
            left = tuple(slot for slot in header.slots if slot.info.id != id)
            if len(left) == len(header.slots):
                raise NotFound(f"The vault has no slot {id[:40]!r}.")
            if not left:
                raise UsageError(
                    "This is the last slot: without it nothing opens the vault.", then="Add another first."
                )
            entries = {name: entry for name, entry in state.keyring.entries.items() if name != (SLOT, id)}
            self._rotate(_State(Keyring(replace(header, slots=left), entries), state.kek), ())

    def rotate_kek(self, *unlocks: Unlock) -> int:
        """The same secrets and slots under a new KEK; with ``unlocks``, only if each of them opens the new keyring.

        Returns how many secrets were wrapped anew.
        """
        with self._exclusive() as state:
            self._rotate(state, unlocks)
            return sum(purpose not in RESERVED for purpose, _ in state.keyring.entries)

    def _rotate(self, old: _State, unlocks: Sequence[Unlock]) -> None:
        kek = envelope.new_key()
        new = _State(rotation.rekeyed(old.keyring, old.kek, kek, self._next()), kek)
        secrets = rotation.secrets_of(old.keyring, old.kek)
        self._commit(new, lambda written: rotation.prove_secrets(written, kek, secrets), unlocks)

    def _changed(self, state: _State, change: Change) -> _State:
        entries, sequence = dict(state.keyring.entries), self._next()
        for (purpose, id), secret in change.wanted.items():
            entries.pop((purpose, id), None)
            if secret is not None:
                entries[purpose, id] = state.entry(purpose, id, sequence, secret)
        return replace(state, keyring=Keyring(replace(state.keyring.header, sequence=sequence), entries))

    def _with_slots(self, made: Sequence[tuple[Slot, SlotKeys]]) -> _State:
        state, sequence = self._open(), self._next()
        header, entries = state.keyring.header, dict(state.keyring.entries)
        slots = list(header.slots)
        for slot, keys in made:
            slots.append(seal_kek(slot, state.kek, keys.tag, header.vault, header.generation))
            entries[SLOT, slot.info.id] = state.entry(SLOT, slot.info.id, sequence, keys.tag)
        return replace(state, keyring=Keyring(replace(header, sequence=sequence, slots=tuple(slots)), entries))

    def _commit(
        self,
        new: _State,
        prove: Callable[[Keyring], None] | None = None,
        unlocks: Sequence[Unlock] = (),
    ) -> None:
        """Write new, prove it, switch, destroy old. The change is made once the first copy is switched."""
        self._attempted = new.keyring.header.sequence
        data = encode(new.keyring, new.kek)
        first, second = store.COPIES
        with store.displaced(self._disk, self._folder):
            with store.cleared_on_failure(self._disk, self._folder):
                store.stage(self._disk, self._folder, data)
                self._prove(new, data, prove, unlocks)
                store.switch(self._disk, self._folder, first)
            self._state, self._header = new, new.keyring.header
            store.switch(self._disk, self._folder, second)

    def _prove(
        self, new: _State, data: bytes, prove: Callable[[Keyring], None] | None, unlocks: Sequence[Unlock]
    ) -> None:
        """Reads what was staged, and ``Damaged`` unless it is right in every way that can be checked."""
        if any(staged != data for staged in store.staged(self._folder)):
            raise Damaged("The disk did not keep what was written to it.", kept="The old keyring stands.")
        written = open_body(peek(data), new.kek)
        if written != new.keyring:
            raise Damaged("The new keyring does not read as it was written.", kept="The old one stands.")
        rotation.prove_slots(written, new.kek, unlocks)
        if prove:
            prove(written)

    def _next(self) -> int:
        """A sequence number that no keyring on the disk can have, not even one whose switch failed half-way."""
        return self._attempted + 1

    def _open(self) -> _State:
        state = self._state
        if state is None:
            raise Sealed("The vault is locked.", then="Unlock it with: lumen-box unlock")
        return state

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[_State]:
        with self._lock:
            if self._changing:
                raise RuntimeError("a change of the vault is under way in this thread")
            self._changing = True
            try:
                yield self._open()
            finally:
                self._changing = False
