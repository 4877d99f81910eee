"""Which copy of the keyring counts, and making the other one equal to it.

The newest whole copy counts. An older one stands in only where the newer is shown not to be the vault's own work: a
slot opens it, so the key is right, but its body is not. A wrong key is never tried on an older copy, or a slot that
was removed would open the copy which the power cut kept from being replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..atomic import Disk
from ..errors import Damaged, LumenError, NoSpace, WrongKey
from . import store
from .keyring import Keyring, Stored, open_body
from .slots import Unlock, open_kek


def open_newest(copies: Sequence[store.Copy], unlock: Unlock) -> tuple[store.Copy, Keyring, bytes]:
    """The copy that counts, the keyring in it, and the KEK; ``WrongKey`` or ``Damaged``."""
    wrong: WrongKey | None = None
    damaged: LumenError | None = None
    for copy in copies:
        if copy.stored is None or (wrong and copy.sequence < copies[0].sequence):
            continue
        kek = _kek(copy.stored, unlock)
        if kek is None:
            wrong = _wrong(unlock)
            continue
        try:
            return copy, open_body(copy.stored, kek), kek
        except Damaged as error:
            damaged = Damaged(
                f"The copy {copy.name} of the keyring was tampered with: {error}",
                kept="Nothing was changed.",
                then="Bring back the vault folder from a backup.",
            )
    raise damaged or wrong or _wrong(unlock)


def _kek(stored: Stored, unlock: Unlock) -> bytes | None:
    header = stored.header
    keys = (open_kek(slot, unlock, header.vault, header.generation) for slot in header.slots)
    return next((key for key in keys if key is not None), None)


def _wrong(unlock: Unlock) -> WrongKey:
    word, then = {
        "passphrase": (
            "passphrase",
            "Try again; `lumen-box unlock --recovery` opens the running box with the printed recovery key.",
        ),
        "key-file": ("key file", "Name the file that the box was made with, or use the passphrase."),
        "recovery": ("recovery key", "Use the print that was made with this box."),
    }[unlock.kind]
    return WrongKey(f"The {word} does not open this box.", kept="The box stays sealed.", then=then)


def heal(disk: Disk, folder: Path, chosen: store.Copy, copies: Sequence[store.Copy]) -> tuple[str, ...]:
    """Clears leftovers, and writes every copy again that is not what ``chosen`` is; a sentence for each.

    A disk that cannot be written to keeps nobody out: the sentence then says that the copy could not be healed.
    """
    done = []
    for copy in copies:
        if copy.data == chosen.data:
            continue
        why = copy.problem or f"was not the same (sequence {copy.sequence}, not {chosen.sequence})"
        try:
            _write_again(disk, folder, chosen, copy.name)
            done.append(f"{copy.name} {why}; it was written again from {chosen.name}.")
        except (OSError, NoSpace) as error:
            done.append(f"{copy.name} {why}; it could not be written again ({error}).")
    try:
        store.clear(disk, folder)
    except OSError as error:
        done.append(f"What an interrupted change left could not be removed ({error}).")
    return tuple(done)


def _write_again(disk: Disk, folder: Path, chosen: store.Copy, name: str) -> None:
    with store.displaced(disk, folder), store.cleared_on_failure(disk, folder):
        store.stage(disk, folder, chosen.data, (name,))
        store.switch(disk, folder, name)
