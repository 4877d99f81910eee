"""The keys of the box: which there are, and new ones in their place."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from .common import Json, PassphraseFile, emit, group, say
from .door import administer
from .keyslots import slot

key = group("The keys of this box.")
key.add_typer(slot, name="slot")
NAMES = {
    "kek": "key-encryption key (KEK)",
    "identity": "identity key",
    "audit": "audit key",
    "recipient": "recipient key",
    "content": "content key",
}


class Rotatable(StrEnum):
    KEK = "kek"


@key.command("list")
def listing(context: typer.Context, passphrase_file: PassphraseFile = None, as_json: Json = False) -> None:
    """List every key, and what it protects; nothing of it is secret."""
    record = administer(context, lambda client: client.get("/api/keys"), passphrase_file=passphrase_file)
    emit(record, as_json, "\n".join(map(_key_text, record["keys"])))


def _key_text(entry: dict[str, Any]) -> str:
    generation = f", generation {entry['generation']}" if entry["generation"] is not None else ""
    made = f", made {entry['created'][:10]}" if entry["created"] else ""
    lines = [f"{NAMES.get(entry['purpose'], entry['purpose'])}{generation}{made}"]
    if entry["fingerprint"]:
        lines.append(f"  fingerprint {entry['fingerprint']}")
    elif entry["purpose"] != entry["id"]:
        lines.append(f"  id          {entry['id']}")
    return "\n".join([*lines, f"  protects    {entry['protects']}"])


@key.command()
def rotate(
    context: typer.Context,
    kind: Annotated[Rotatable, typer.Argument(metavar="KIND", help="kek: the key that all others are wrapped under.")],
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Make a key anew. Interrupted, the old one or the new one holds, never neither.

    kek wraps every other key under a new key-encryption key. Passphrases, key files and recovery keys stay as they
    are, and no model is written again. Copies of the vault that were made before still open with the old key.
    """
    body = {"kind": kind.value}
    record = administer(context, lambda client: client.post("/api/keys/rotate", body), passphrase_file=passphrase_file)
    emit(record, as_json, f"The key-encryption key is new: generation {record['generation']}.")
    if not as_json:
        say(f"It wraps {record['secrets']} keys and records; {record['slots']} slots open it as before.")
