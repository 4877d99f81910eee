"""Published prompts: texts that many conversations begin with, read by the engine once for all users."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UsageError
from .common import Json, PassphraseFile, emit, group, say
from .door import administer

prompt = group("Texts that many conversations begin with.")
MAX_TEXT = 256 * 1024  # bytes
Name = Annotated[str, typer.Argument(metavar="NAME", help="As `prompt list` shows it.")]


@prompt.command()
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it: a-z, 0-9, '.', '_' and '-'.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", readable=False, help="The text, in UTF-8; at most 256 KiB.")],
    document: Annotated[
        bool, typer.Option("--document", help="A first user message begins with it; else it is a system message.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Publish a text, or replace the one of that name.

    Conversations that begin with exactly this text are answered sooner, whoever asks: it is read once for all of them.
    So everybody who may ask can find out that it is published. Nothing else is ever shared between users.
    """
    body = {"name": name, "kind": "document" if document else "system", "text": _text(file)}
    record = administer(context, lambda client: client.post("/api/prompts", body), passphrase_file=passphrase_file)
    emit(record, as_json, f"{record['name']} is published: {record['characters']} characters.")
    for model, why in {} if as_json else record["not_shared_by"].items():
        say(f"{model} does not share it. {why}")


def _text(file: Path) -> str:
    """The file's text as it stands, but for the line end at its very end, which editors add."""
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_TEXT + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.", kept="Nothing was published.") from error
    if len(data) > MAX_TEXT:
        raise UsageError(f"{file} is larger than {MAX_TEXT // 1024} KiB.", kept="Nothing was published.")
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{file} is not UTF-8: byte {error.start} begins no character.", kept="Nothing was published."
        ) from None


@prompt.command("list")
def listing(context: typer.Context, passphrase_file: PassphraseFile = None, as_json: Json = False) -> None:
    """List every published prompt, and which models share it."""
    record = administer(context, lambda client: client.get("/api/prompts"), passphrase_file=passphrase_file)
    emit(record, as_json, "\n".join(map(_row, record["prompts"])) or "No prompt is published.")


def _row(entry: dict[str, Any]) -> str:
    shared = f"shared by {', '.join(entry['shared_by'])}" if entry["shared_by"] else "not shared by any model now"
    why = "".join(f"\n  not by {model}: {reason}" for model, reason in entry["not_shared_by"].items())
    since = entry["published_at"][:10]
    return f"{entry['name']:24} {entry['kind']:9} {entry['characters']:7} characters  since {since}  {shared}{why}"


@prompt.command()
def show(context: typer.Context, name: Name, passphrase_file: PassphraseFile = None, as_json: Json = False) -> None:
    """Print the text of a published prompt."""
    body = {"name": name}
    record = administer(context, lambda client: client.post("/api/prompts/show", body), passphrase_file=passphrase_file)
    emit(record, as_json, record["text"])


@prompt.command()
def remove(context: typer.Context, name: Name, passphrase_file: PassphraseFile = None, as_json: Json = False) -> None:
    """Withdraw a published prompt. What the engines kept of it is wiped."""
    body = {"name": name}
    record = administer(
        context, lambda client: client.post("/api/prompts/remove", body), passphrase_file=passphrase_file
    )
    emit(record, as_json, f"{record['name']} is no longer published.")
