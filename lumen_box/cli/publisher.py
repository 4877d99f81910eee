"""``lumen-box publisher``: the other machine, on which models are signed and encrypted for named boxes."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Damaged, NotAllowed, NotFound, UsageError
from ..sizes import parse_size, size
from .common import Json, emit, read_passphrase, reporting, say, wrapped

if TYPE_CHECKING:
    from ..bundle.manifest import Manifest
    from ..publisher.workspace import Workspace
    from ..sealed.fingerprint import Fingerprint

PASSPHRASE = "LUMEN_PUBLISHER_PASSPHRASE_FILE"  # noqa: S105 - the name of a variable that names a file

app = typer.Typer(
    name="publisher",
    help="Sign and encrypt models for boxes, and write media.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

Dir = Annotated[Path, typer.Argument(metavar="DIR", readable=False, help="The publisher's folder.")]
Secret = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", metavar="FILE", readable=False, help=f"File with the passphrase; else ${PASSPHRASE}."
    ),
]


@app.command()
def init(
    folder: Dir,
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="The publisher's name, as boxes will show it.")],
    passphrase_file: Secret = None,
    as_json: Json = False,
) -> None:
    """Make a new publisher."""
    from ..publisher.workspace import Workspace
    from ..trust.publisher_id import read_root

    secret = read_passphrase(passphrase_file, PASSPHRASE, "New passphrase for the publisher's keys", confirm=True)
    with Workspace.create(folder.expanduser().absolute(), name, secret) as workspace:
        root = read_root(workspace.repository().root)
        value = {"publisher": workspace.id, "name": root.name, "fingerprint": root.fingerprint.hex}
        emit(value, as_json, f"The publisher {root.name!r} is in {folder}.\n{_spoken(root.fingerprint)}")
    if not as_json:
        say(f"\nNext: lumen-box publisher root {shlex.quote(str(folder))} --output root.json")


@app.command()
def root(
    folder: Dir,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="Where to write the root.")],
    passphrase_file: Secret = None,
    as_json: Json = False,
) -> None:
    """Write the root, which boxes pin, and show its fingerprint.

    The root holds the publisher's public keys. Whoever pins it at a box has the fingerprint read aloud, and compares.
    """
    from ..atomic import Disk, write_file
    from ..trust.publisher_id import read_root

    with _opened(folder, passphrase_file) as workspace:
        data = workspace.repository().root
    found = read_root(data)
    write_file(Disk(), output.absolute(), data)
    value = {
        "publisher": found.publisher_id,
        "name": found.name,
        "version": found.version,
        "fingerprint": found.fingerprint.hex,
        "words": found.fingerprint.words,
        "output": str(output),
    }
    emit(value, as_json, f"The root of {found.name!r} is in {output}.\n{_spoken(found.fingerprint)}")


@app.command()
def show(folder: Dir, passphrase_file: Secret = None, as_json: Json = False) -> None:
    """Show the models that were added, and the boxes that are enrolled."""
    from ..publisher.overview import overview

    with _opened(folder, passphrase_file) as workspace:
        record = overview(workspace)
    emit(record, as_json, _overview_text(record))


@app.command()
def enrol(
    folder: Dir,
    box: Annotated[Path, typer.Argument(metavar="BOX.json", help="The enrolment that the box exported.")],
    fingerprint: Annotated[
        str | None,
        typer.Option("--fingerprint", metavar="WORDS", help="As read aloud at the box: words or hex. Once a box."),
    ] = None,
    passphrase_file: Secret = None,
    as_json: Json = False,
) -> None:
    """Enrol a box, so that the next export is for it too."""
    from ..bundle.limits import MAX_ENROLMENT
    from ..publisher.enrol import enrol as enrol_box
    from ..sealed.fingerprint import Fingerprint

    expected = None if fingerprint is None else Fingerprint.parse(fingerprint)
    data = _read(box, MAX_ENROLMENT)
    with _opened(folder, passphrase_file) as workspace:
        try:
            enrolment = enrol_box(workspace, data, expected)
        except Damaged as error:
            raise Damaged(
                f"{box} is not a box's enrolment. {error.what}", kept="Nothing was changed.", then=error.then
            ) from None
    value = {
        "box": enrolment.box_id,
        "name": enrolment.name,
        "sequence": enrolment.sequence,
        "fingerprint": enrolment.fingerprint.hex,
    }
    emit(value, as_json, f"The box {enrolment.name!r} is enrolled. The next export is for it too.")


@app.command("add-model")
def add_model(
    folder: Dir,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What boxes call it, such as clinical.")],
    version: Annotated[str, typer.Option("--version", metavar="VERSION", help="Such as 1.0.0; never used twice.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE.gguf", help="The model; any part of a split one.")
    ] = None,
    same_as: Annotated[
        str | None,
        typer.Option("--same-as", metavar="NAME@VERSION", help="Instead of a file: describe its weights anew."),
    ] = None,
    release: Annotated[
        int | None, typer.Option("--release", metavar="N", min=1, help="Grows from version to version.")
    ] = None,
    min_release: Annotated[
        int | None,
        typer.Option("--min-release", metavar="N", min=0, help="Boxes will not install an older release any more."),
    ] = None,
    role: Annotated[str | None, typer.Option("--role", metavar="chat|embedding", help="What it is for.")] = None,
    licence: Annotated[str | None, typer.Option("--licence", metavar="TEXT", help="Its licence, in one line.")] = None,
    card: Annotated[Path | None, typer.Option("--card", metavar="FILE", help="A model card in Markdown.")] = None,
    template: Annotated[
        Path | None, typer.Option("--template", metavar="FILE", help="A chat template instead of the file's.")
    ] = None,
    reasoning: Annotated[
        tuple[str, str] | None, typer.Option("--reasoning", metavar="START END", help="Marks around what it thinks.")
    ] = None,
    no_reasoning: Annotated[
        bool, typer.Option("--no-reasoning", help="It does not think aloud, whatever its vocabulary suggests.")
    ] = False,
    segment_size: Annotated[
        int | None, typer.Option("--segment-size", hidden=True, help="In chunks of 16 KiB.")
    ] = None,
    part_size: Annotated[int | None, typer.Option("--part-size", hidden=True, help="In segments.")] = None,
    passphrase_file: Secret = None,
    as_json: Json = False,
) -> None:
    """Check, encrypt and sign a model."""
    from ..bundle import limits
    from ..bundle.manifest import ROLES
    from ..publisher.model import NewModel, describe_again
    from ..publisher.model import add_model as add

    for_what = next((one for one in ROLES if one == role), None)
    if role is not None and for_what is None:
        raise UsageError(f"There is no role {role!r}.", then="Use chat or embedding.")
    if (file is None) == (same_as is None):
        raise UsageError("Give either the file of a model or --same-as NAME@VERSION.", kept="Nothing was added.")
    wanted = NewModel(
        name=name,
        version=version,
        release=release,
        min_release=min_release,
        role=for_what,
        licence=licence,
        card=_text(card, limits.MAX_TEXT),
        template=_text(template, limits.MAX_TEXT),
        reasoning=reasoning,
        guess_reasoning=not no_reasoning,
        segment_chunks=segment_size or limits.SEGMENT_CHUNKS,
        part_segments=part_size or limits.PART_SEGMENTS,
    )
    with _opened(folder, passphrase_file) as workspace, reporting() as report:
        if file is not None:
            manifest = add(workspace, file, wanted, report)
        else:
            manifest = describe_again(workspace, same_as or "", wanted)
    emit(_described(manifest), as_json, _in_words(manifest))


@app.command()
def export(
    folder: Dir,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The mount point of the medium.")],
    boxes: Annotated[
        list[str] | None,
        typer.Option("--box", metavar="BOX", help="For this box only, by name or id; can be repeated."),
    ] = None,
    medium_size: Annotated[
        str | None,
        typer.Option(
            "--medium-size", metavar="SIZE", help="Spread over media of this size, such as 32GB: OUT/medium-1 …"
        ),
    ] = None,
    medium: Annotated[
        int | None, typer.Option("--medium", metavar="N", min=1, help="Of several media, write the Nth at OUT itself.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write also where a medium should be mounted and none is.")
    ] = False,
    passphrase_file: Secret = None,
    as_json: Json = False,
) -> None:
    """Write a medium for all enrolled boxes, or for those named."""
    from ..publisher.export import export as write
    from ..publisher.mounts import missing_medium

    if not force and missing_medium(out):
        raise NotFound(
            f"No medium is mounted at {out}: this would fill the local disk.",
            kept="Nothing was written.",
            then="Mount it and try again; `findmnt` shows what is. With --force it is written there all the same.",
        )
    capacity = None if medium_size is None else parse_size(medium_size)
    with _opened(folder, passphrase_file) as workspace, reporting() as report:
        written = write(workspace, out.absolute(), report, boxes=boxes or (), capacity=capacity, medium=medium)
    media = [{"path": str(item.path), "number": item.number, "of": item.total} for item in written]
    lines = [f"Medium {item.number} of {item.total}: {item.path}" for item in written]
    emit({"media": media}, as_json, "\n".join(lines))


@app.command()
def revoke(
    folder: Dir,
    model: Annotated[str | None, typer.Argument(metavar="NAME@VERSION", help="The version to take back.")] = None,
    object_id: Annotated[
        str | None, typer.Option("--object", metavar="ID", help="Instead: an object, with every version that uses it.")
    ] = None,
    box: Annotated[str | None, typer.Option("--box", metavar="BOX", help="Instead: a box, by name or id.")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Boxes also stop it where it runs.")] = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, in one line; boxes show it.")] = "",
    passphrase_file: Secret = None,
    as_json: Json = False,
) -> None:
    """Take back a version, an object or a box. Boxes learn of it from the next medium they see."""
    from ..publisher.revoke import revoke as take_back

    if sum(wanted is not None for wanted in (model, object_id, box)) != 1:
        raise UsageError("Name one thing to revoke: NAME@VERSION, --object or --box.", kept="Nothing was revoked.")
    with _opened(folder, passphrase_file) as workspace:
        what = take_back(workspace, model=model, object_id=object_id, box=box, stop=stop, reason=reason)
    emit({"revoked": what, "stop": stop}, as_json, f"Revoked {what}. Export a medium to tell the boxes.")


@app.command()
def rotate(
    what: Annotated[str, typer.Argument(metavar="root|targets|models|software", help="Which key to replace.")],
    folder: Dir,
    passphrase_file: Secret = None,
    as_json: Json = False,
) -> None:
    """Replace a signing key by a new one. Boxes follow by themselves with the next medium."""
    from ..publisher.rotate import rotate as replace_keys
    from ..trust.publisher_id import read_root

    with _opened(folder, passphrase_file) as workspace:
        roles = replace_keys(workspace, what)
        found = read_root(workspace.repository().root)
    value = {"rotated": list(roles), "version": found.version, "fingerprint": found.fingerprint.hex}
    emit(value, as_json, f"New keys for {', '.join(roles)}; the root is now version {found.version}.")


@contextlib.contextmanager
def _opened(folder: Path, passphrase_file: Path | None) -> Iterator[Workspace]:
    from ..publisher.workspace import Workspace

    folder = folder.expanduser().absolute()
    Workspace.check(folder)
    with Workspace.open(folder, read_passphrase(passphrase_file, PASSPHRASE, "Publisher's passphrase")) as workspace:
        yield workspace


def _read(path: Path, most: int) -> bytes:
    """A file that the operator named; one byte more than ``most`` is enough to have it refused."""
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound(f"There is no file {path}.", kept="Nothing was changed.") from None
    except PermissionError:
        raise NotAllowed(f"You may not read {path}.", kept="Nothing was changed.") from None


def _text(path: Path | None, most: int) -> str | None:
    if path is None:
        return None
    try:
        text = _read(path, 4 * most).decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text.", kept="Nothing was added.") from None
    if len(text) > most:
        raise UsageError(f"{path} has more than {most} characters.", kept="Nothing was added.")
    return text


def _spoken(fingerprint: Fingerprint) -> str:
    return f"Its fingerprint, to be read aloud:\n{wrapped(fingerprint.words)}\n  {fingerprint.hex}"


def _overview_text(record: dict[str, Any]) -> str:
    def row(name: str, detail: str, entry: dict[str, Any]) -> str:
        gone = "" if entry["revoked"] is None else f"  revoked{entry['revoked'] and ': '}{entry['revoked']}"
        return f"  {name:32} {detail}{gone}"

    models = [
        row(f"{entry['name']}@{entry['version']}", f"{entry['quantisation']:7} {size(entry['size']):>9}", entry)
        for entry in record["models"]
    ]
    boxes = [row(entry["name"] or "", entry["id"], entry) for entry in record["boxes"]]
    heading = f"{record['name']}  {record['publisher']}"
    return "\n".join([heading, "models", *(models or ["  none yet"]), "boxes", *(boxes or ["  none yet"])])


def _described(manifest: Manifest) -> dict[str, object]:
    return {
        "name": manifest.name,
        "version": manifest.version,
        "release": manifest.release,
        "min_release": manifest.min_release,
        "role": manifest.role,
        "architecture": manifest.architecture,
        "parameters": manifest.parameters,
        "context": manifest.context,
        "quantisation": manifest.quantisation,
        "size": manifest.model.size,
        "object": manifest.model.id,
        "parts": manifest.model.slices.parts,
        "reasoning": list(manifest.reasoning) if manifest.reasoning else None,
        "template_sha256": manifest.template_sha256,
    }


def _in_words(manifest: Manifest) -> str:
    if manifest.reasoning:
        say(f"What it writes between {' and '.join(manifest.reasoning)} is kept apart as reasoning.")
    return (
        f"Added {manifest.name}@{manifest.version}: {manifest.architecture}, {manifest.quantisation}, "
        f"{manifest.context} tokens of context, {size(manifest.model.size)}, for {manifest.role}."
    )
