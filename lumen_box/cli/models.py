"""Models: brought in, put into service, looked at, removed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import Interrupted, NotFound, UsageError
from ..sizes import size
from .common import Json, PassphraseFile, confirm, emit, group, reporting, say
from .door import administer

model = group("Models on this box.")
Name = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="As `model list` shows it.")]


@model.command()
def install(
    context: typer.Context,
    medium: Annotated[
        Path, typer.Argument(metavar="MEDIUM", help="The mount point of the medium, or its lumen-medium folder.")
    ],
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME[@VERSION]",
            help="Without it, the only model there is; where there are several, they are listed.",
        ),
    ] = None,
    only_list: Annotated[bool, typer.Option("--list", help="Only show what is on the medium.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Verify everything, install nothing.")] = False,
    allow_expired: Annotated[
        bool, typer.Option("--allow-expired", help="Accept metadata that has expired. The log records who did.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Install a model from a medium. Interrupted, it goes on where it was."""
    if only_list and (name or check):
        raise UsageError("--list goes with no name, and not with --check.", kept="Nothing was changed.")

    async def work(client: Any) -> Any:
        chosen = name
        with reporting() as report:
            if chosen is None:
                body = {"medium": await hand_over(client, medium), "allow_expired": allow_expired}
                offered = (await client.work("/api/models/offered", body, report))["models"]
                if only_list or len(offered) != 1:
                    return {"offered": offered}
                chosen = "{publisher}/{name}@{version}".format(**offered[0])
            ticket = await hand_over(client, medium)
            body = {"medium": ticket, "model": chosen, "allow_expired": allow_expired, "check": check}
            return await client.work("/api/models/install", body, report)

    try:
        record = administer(context, work, passphrase_file=passphrase_file)
    except KeyboardInterrupt:
        raise Interrupted(
            "Interrupted: nothing was installed.",
            kept="What was copied is kept, and counts for nothing until it is whole.",
            then=f"Run the same command again to go on, or `lumen-box model remove {name or 'NAME'}` to give it up.",
        ) from None
    emit(record, as_json, _offered_text(record["offered"]) if "offered" in record else _installed_text(record))
    if record.get("offered") and not as_json:
        say("Nothing was installed. To install one, write its name after the medium.")


async def hand_over(client: Any, medium: Path) -> str:
    """A ticket for the medium, which is opened here: its path does not cross to the gateway."""
    try:
        fd = os.open(medium, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound(
            f"The medium {medium} cannot be opened: {error.strerror}.",
            kept="Nothing was changed.",
            then="Name the folder where it is mounted; `findmnt` shows what is.",
        ) from error
    try:
        ticket: str = await client.hand_over(fd)
        return ticket
    finally:
        os.close(fd)


def _offered_text(offered: list[dict[str, Any]]) -> str:
    if not offered:
        return "There is no model on this medium."
    lines = []
    for entry in offered:
        mark = "   (installed)" if entry["installed"] else ""
        lines.append(f"{entry['publisher']}/{entry['name']}@{entry['version']}{mark}")
    return "\n".join(lines)


def _installed_text(record: dict[str, Any]) -> str:
    what = f"{record['name']}@{record['version']}"
    if record.get("checked"):
        return f"{what} is whole on this medium, and for this box. Nothing was installed."
    if not record["fresh"]:
        return f"{what} was installed already, and is whole."
    return f"{what} is installed. Activate it with: lumen-box model activate {what}"


@model.command("list")
def listing(context: typer.Context, passphrase_file: PassphraseFile = None, as_json: Json = False) -> None:
    """List every installed version."""
    record = administer(context, lambda client: client.get("/api/models"), passphrase_file=passphrase_file)
    emit(record, as_json, "\n".join(map(_row, record["models"])) or "No model is installed.")


def _row(entry: dict[str, Any]) -> str:
    name = f"{entry.get('publisher', '?')}/{entry['name']}@{entry['version']}"
    if entry["state"] == "damaged":
        return f"{name:44} damaged   {entry.get('why', '')}"
    return f"{name:44} {entry['state']:17} {entry['role']:10} {entry['quantisation']:7} {size(entry['size']):>9}"


@model.command()
def show(context: typer.Context, name: Name, passphrase_file: PassphraseFile = None, as_json: Json = False) -> None:
    """Show everything about one version."""
    body = {"model": name}
    record = administer(context, lambda client: client.post("/api/models/show", body), passphrase_file=passphrase_file)
    shown = {key: value for key, value in record.items() if key not in ("card", "layout") and value is not None}
    text = "\n".join(
        f"{key.replace('_', ' '):16} {size(value) if key == 'size' else value}" for key, value in shown.items()
    )
    laid_out = "".join(f"\n{'layout' if not at else '':16} {why}" for at, why in enumerate(record["layout"]))
    emit(record, as_json, text + laid_out + (f"\n\n{record['card']}" if record.get("card") else ""))


@model.command()
def activate(
    context: typer.Context,
    name: Name,
    default: Annotated[bool, typer.Option("--default", help="Also answer where no model is named.")] = False,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Put a version into service, after it has answered once."""
    record = _work(context, "/api/models/activate", {"model": name, "default": default}, passphrase_file)
    emit(record, as_json, f"{record['name']}@{record['version']} is active.")


@model.command()
def rollback(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Without a version.")],
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Go back to the version that was active before."""
    record = _work(context, "/api/models/rollback", {"model": name}, passphrase_file)
    emit(record, as_json, f"{record['name']}@{record['version']} is active again.")


@model.command()
def verify(context: typer.Context, name: Name, passphrase_file: PassphraseFile = None, as_json: Json = False) -> None:
    """Compare every stored byte again with what was signed."""
    record = _work(context, "/api/models/verify", {"model": name}, passphrase_file)
    emit(record, as_json, f"{record['name']}@{record['version']} is whole.")


@model.command()
def remove(
    context: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Remove a version, its weights and its key.

    An install that was begun and not finished is given up in the same way.
    """
    if not yes:
        confirm(f"Remove {name} from this box?")
    body = {"model": name}
    record = administer(
        context, lambda client: client.post("/api/models/remove", body), passphrase_file=passphrase_file
    )
    what = f"{record['name']}@{record['version']}"
    emit(record, as_json, f"{what} was removed." if record["installed"] else f"The install of {what} was given up.")


def _work(context: typer.Context, path: str, body: dict[str, Any], passphrase_file: Path | None) -> Any:
    async def work(client: Any) -> Any:
        with reporting() as report:
            return await client.work(path, body, report)

    return administer(context, work, passphrase_file=passphrase_file)
