"""The slots of the box: what opens its vault. A new passphrase comes from a file or the terminal, never by flag."""

from __future__ import annotations

import base64
import stat
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UsageError
from ..paths import Home
from .common import Json, PassphraseFile, confirm, emit, group, home_of, read_passphrase, say
from .door import administer

slot = group("What opens this box: passphrases, key files, printed recovery keys.")
LABELS = {"passphrase": "passphrase", "key-file": "key file", "recovery": "recovery key"}
KEEP = "Write the recovery key on paper, keep it away from the box, and clear the screen: it is shown this once."


class Kind(StrEnum):
    PASSPHRASE = "passphrase"  # noqa: S105 - a kind of slot
    KEY_FILE = "key-file"
    RECOVERY = "recovery"


@slot.command("list")
def listing(context: typer.Context, as_json: Json = False) -> None:
    """List every slot; nothing of it is secret, and the box may be sealed."""
    record = administer(context, lambda client: client.get("/api/keys/slots"), passphrase_file=None, keys=False)
    emit(record, as_json, "\n".join(map(_row, record["slots"])))


def _row(entry: dict[str, Any]) -> str:
    return f"{entry['id']}  {LABELS[entry['kind']]:12}  made {entry['created'][:10]}  {entry['label']}"


@slot.command()
def add(
    context: typer.Context,
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="passphrase, key-file or recovery.")],
    label: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What people call it, such as whose it is or where it lies.")
    ] = None,
    new_passphrase_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", readable=False, help="File with the new passphrase; else it is asked for."),
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", readable=False, help="For key-file: 32 random bytes or more.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Let one more passphrase, key file or recovery key open the box.

    A recovery key is made by the box and shown this once.
    """
    _check_options(kind, new_passphrase_file, key_file)
    body: dict[str, Any] = {"kind": kind.value, "label": label or LABELS[kind]}
    if key_file is not None:
        body["secret"] = base64.b64encode(read_key_file(key_file)).decode()

    async def work(client: Any) -> Any:
        if kind is Kind.PASSPHRASE:  # after the box was opened: the terminal asks for the old one first
            new = read_passphrase(new_passphrase_file, "", "New passphrase", True, "--new-passphrase-file")
            body["secret"] = base64.b64encode(new).decode()
        return await client.post("/api/keys/slots", body)

    record = administer(context, work, passphrase_file=passphrase_file)
    recovery = record.get("recovery_key")
    emit(record, as_json, f"Recovery key: {recovery}" if recovery else f"The slot {record['id']} opens this box now.")
    if recovery and not as_json:
        say(KEEP)
    if key_file is not None:
        advise(home_of(context), key_file)


def _check_options(kind: Kind, new_passphrase_file: Path | None, key_file: Path | None) -> None:
    if (key_file is not None) != (kind is Kind.KEY_FILE):
        raise UsageError("--key-file goes with the kind key-file, and must be there.", kept="Nothing was changed.")
    if new_passphrase_file is not None and kind is not Kind.PASSPHRASE:
        raise UsageError("--new-passphrase-file goes with the kind passphrase.", kept="Nothing was changed.")


@slot.command()
def remove(
    context: typer.Context,
    identity: Annotated[str, typer.Argument(metavar="ID", help="As `key slot list` shows it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Let a slot open the box no longer, and rotate the key-encryption key. The last slot stays.

    Copies of the vault that were made before still open with what was removed.
    """
    if not yes:
        confirm(f"Remove the slot {identity}? What it holds opens this box no longer.")
    path = f"/api/keys/slots/{identity}/remove"
    record = administer(context, lambda client: client.post(path), passphrase_file=passphrase_file)
    emit(record, as_json, f"The {LABELS[record['slot']['kind']]} {record['slot']['label']!r} opens this box no longer.")
    left = {entry["kind"] for entry in record["left"]}
    if Kind.RECOVERY not in left:
        say("No recovery key is left. Make one with: lumen-box key slot add recovery")
    if left == {Kind.RECOVERY}:
        say("Nothing but recovery keys is left. Add a passphrase with: lumen-box key slot add passphrase")


def read_key_file(path: Path) -> bytes:
    """The bytes of a key file; ``UsageError`` where it cannot be read, is open to everybody, or has a wrong size."""
    from ..vault.slots import MAX_KEY_FILE, MIN_KEY_FILE

    try:
        with path.open("rb") as file:
            key, mode = file.read(MAX_KEY_FILE + 1), path.stat().st_mode
    except OSError as error:
        raise UsageError(
            f"The key file {path} cannot be read: {error.strerror}.", kept="Nothing was changed."
        ) from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise UsageError(f"Everybody on this machine can read {path}.", then=f"Run `chmod 600 {path}` and try again.")
    if not MIN_KEY_FILE <= len(key) <= MAX_KEY_FILE:
        raise UsageError(
            f"A key file has {MIN_KEY_FILE} to {MAX_KEY_FILE} bytes; {path} has {path.stat().st_size}.",
            kept="Nothing was changed.",
            then=f"Make one with: (umask 077; head -c 64 /dev/urandom > {path})",
        )
    return key


def advise(home: Home, key_file: Path) -> None:
    """How the box opens by itself with a new key file, and a warning where that lies beside what it protects."""
    from ..usecases.slots import on_the_same_disk

    say(f'To open by itself, the box needs in {home.settings}:\n  [vault]\n  key_file = "{key_file.absolute()}"')
    if on_the_same_disk(key_file, home):
        say("The key file lies on the disk that it protects: who steals one steals both. Keep it on another device.")
