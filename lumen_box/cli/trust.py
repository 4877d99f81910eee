"""Whom the box trusts, and its own enrolment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import Damaged, UsageError
from .common import Json, PassphraseFile, emit, group, say, wrapped
from .door import administer

trust = group("Whom this box trusts.")
enrolment = group("How this box makes itself known to publishers.")


@trust.command()
def pin(
    context: typer.Context,
    root: Annotated[
        Path, typer.Argument(metavar="ROOT.json", help="The publisher's root, as `publisher root` wrote it.")
    ],
    fingerprint: Annotated[
        str, typer.Option(metavar="WORDS", help="Its fingerprint as it was read aloud, in quotes: 32 words, or hex.")
    ],
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Trust a publisher from now on."""
    body = {"root": read_text(root), "fingerprint": fingerprint}
    try:
        record = administer(
            context, lambda client: client.post("/api/trust/pin", body), passphrase_file=passphrase_file
        )
    except Damaged as error:
        raise Damaged(f"{root} is not a publisher's root. {error.what}", kept=error.kept, then=error.then) from None
    emit(record, as_json, f"This box trusts {record['name']}; its models are called {record['alias']}/…")


@trust.command()
def show(context: typer.Context, passphrase_file: PassphraseFile = None, as_json: Json = False) -> None:
    """Show every pinned publisher."""
    record = administer(context, lambda client: client.get("/api/trust"), passphrase_file=passphrase_file)
    emit(record, as_json, "\n\n".join(map(_publisher_text, record["publishers"])) or "No publisher is pinned.")


def _publisher_text(publisher: dict[str, Any]) -> str:
    seen = ", ".join(f"{role} {version}" for role, version in publisher["seen"].items()) or "nothing yet"
    return f"{publisher['alias']}  ({publisher['name']})\n{wrapped(publisher['words'])}\n  accepted so far: {seen}" + (
        f", signed {publisher['signed_at']}" if publisher["signed_at"] else ""
    )


@enrolment.command()
def export(
    context: typer.Context,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="The file to carry to the publisher.")],
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Write this box's enrolment, signed by its identity."""
    record = administer(context, lambda client: client.post("/api/enrolment"), passphrase_file=passphrase_file)
    write_new(output, record.pop("enrolment").encode())
    emit({**record, "output": str(output)}, as_json, record["fingerprint"])
    if not as_json:
        say(f"\n{output} goes to the publisher. Read this aloud to them:\n{wrapped(record['words'])}")


def read_text(path: Path) -> str:
    """A small text file that a person named; ``UsageError`` if it is not one."""
    from ..schemas.admin import MAX_ROOT

    try:
        with path.open("rb") as file:
            data = file.read(MAX_ROOT + 1)
        if len(data) > MAX_ROOT:
            raise UsageError(f"{path} is larger than {MAX_ROOT} bytes: it cannot be the right file.")
        return data.decode("ascii")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not the file that is meant: it is not plain text.") from None


def write_new(path: Path, data: bytes) -> None:
    """Writes a private file that a person named, whole or not at all."""
    from ..atomic import Disk, write_file

    try:
        write_file(Disk(), path.absolute(), data)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error
