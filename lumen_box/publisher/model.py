"""Adding a model: checked, encrypted into the publisher's folder, described by a signed manifest.

    check → encrypt into staging → publish the object by rename → sign → commit

Nothing of it counts before the commit: stopped at any moment, the next command clears away what was begun.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..atomic import make_dir, publish, translated
from ..bundle import limits
from ..bundle.manifest import Manifest, Role, StoredObject
from ..bundle.parts import write_parts
from ..bundle.slices import Slices
from ..errors import Damaged, NoSpace, NotAllowed, NotFound, UsageError
from ..gguf.reader import read_header
from ..gguf.split import Model
from ..gguf.summary import Summary, summarise
from ..progress import Advance, Report, Step
from ..sealed.stream import OBJECT_ID, new_key
from ..trust.layout import MODELS, TargetPath, is_name
from .workspace import OBJECTS, STAGING, Workspace

_KEPT = "Nothing was added."


@dataclass(frozen=True)
class NewModel:
    """What the publisher says about a model; None means: as the file says, or as it follows from what is there."""

    name: str
    version: str
    release: int | None = None
    min_release: int | None = None
    role: Role | None = None
    licence: str | None = None
    card: str | None = None
    template: str | None = None
    reasoning: tuple[str, str] | None = None
    guess_reasoning: bool = True
    segment_chunks: int = limits.SEGMENT_CHUNKS
    part_segments: int = limits.PART_SEGMENTS


def add_model(workspace: Workspace, file: Path, wanted: NewModel, report: Report) -> Manifest:
    """Adds the model in ``file``; returns its manifest as signed.

    Raises ``UsageError`` (a bad or taken name, no chat template), ``Damaged`` or ``TooNew`` (an unsound or unknown
    GGUF), ``NoSpace``, ``NotFound``.
    """
    _check_wanted(workspace, wanted)
    report(Step(f"Checking {file.name}"))
    with _opened(file) as source:
        identity, key = secrets.token_bytes(OBJECT_ID).hex(), new_key()
        slices = Slices(source.size, wanted.segment_chunks, wanted.part_segments)
        blank = StoredObject(identity, slices.size, slices.segment_chunks, slices.part_segments, ())
        described = _describe(workspace, wanted, summarise(source.gguf), blank)
        _check(replace(described, objects=(replace(blank, segments=("0" * 64,) * slices.segments),)))
        stored = replace(blank, segments=_encrypt(workspace, source, slices, identity, key, report))
    manifest = replace(described, objects=(stored,))
    report(Step("Signing"))
    _commit(workspace, manifest, {identity: key})
    return manifest


def _opened(file: Path) -> Model:
    try:
        return Model(file)
    except PermissionError as error:
        raise NotAllowed(f"You may not read {error.filename or file}.", kept=_KEPT) from error


def describe_again(workspace: Workspace, old: str, wanted: NewModel) -> Manifest:
    """A new version over the object of an old one (``name@version``): another template, card or licence."""
    _check_wanted(workspace, wanted)
    known = find(workspace, old)
    release, min_release = _releases(workspace, wanted)
    manifest = replace(
        known,
        name=wanted.name,
        version=wanted.version,
        release=release,
        min_release=min_release,
        signed_at=workspace.now(),
        template=wanted.template or known.template,
        reasoning=wanted.reasoning or known.reasoning,
        licence=wanted.licence or known.licence,
        card=wanted.card or known.card,
    )
    _check(manifest)
    _commit(workspace, manifest, {})
    return manifest


def find(workspace: Workspace, wanted: str) -> Manifest:
    """The manifest of ``name@version``; ``UsageError`` for another form, ``NotFound`` if there is none."""
    name, _, version = wanted.partition("@")
    if not (is_name(name) and is_name(version)):
        raise UsageError(f"{wanted!r} is not of the form NAME@VERSION.", kept="Nothing was changed.")
    manifest = workspace.manifests().get(str(TargetPath(MODELS, name, version)))
    if manifest is None:
        raise NotFound(f"This publisher has no {wanted}.", kept="Nothing was changed.")
    return manifest


def _check_wanted(workspace: Workspace, wanted: NewModel) -> None:
    for what, name in (("name", wanted.name), ("version", wanted.version)):
        if not is_name(name):
            raise UsageError(
                f"{name!r} cannot be the {what} of a model.",
                kept=_KEPT,
                then="Use lower-case letters, digits, dots, hyphens and underscores, beginning with a letter or digit.",
            )
    chunks, segments = wanted.segment_chunks, wanted.part_segments
    if not (1 <= chunks <= limits.MAX_SEGMENT_CHUNKS and 1 <= segments <= limits.MAX_PART_SEGMENTS):
        raise UsageError(f"A segment of {chunks} chunks, or a part of {segments} segments, cannot be.", kept=_KEPT)
    if str(TargetPath(MODELS, wanted.name, wanted.version)) in workspace.state.targets:
        raise UsageError(
            f"There is a {wanted.name}@{wanted.version} already.", kept="It was not changed.", then="Use a new version."
        )


def _releases(workspace: Workspace, wanted: NewModel) -> tuple[int, int]:
    """Release and least release: one more than the highest so far, and no less than so far, unless told."""
    before = [manifest for manifest in workspace.manifests().values() if manifest.name == wanted.name]
    release = wanted.release or max((manifest.release for manifest in before), default=0) + 1
    least = max((manifest.min_release for manifest in before), default=0)
    return release, least if wanted.min_release is None else wanted.min_release


def _describe(workspace: Workspace, wanted: NewModel, found: Summary, stored: StoredObject) -> Manifest:
    role, template = wanted.role or found.role, wanted.template or found.chat_template
    if role == "chat" and not found.writes:
        raise UsageError(
            f"A model of the architecture {found.architecture} reads a text from both ends and cannot chat.",
            kept=_KEPT,
            then="Use --role embedding, or no --role.",
        )
    if role == "chat" and not template:
        raise UsageError(
            "The file has no chat template.", kept=_KEPT, then="Give one with --template, or use --role embedding."
        )
    release, min_release = _releases(workspace, wanted)
    return Manifest(
        name=wanted.name,
        version=wanted.version,
        release=release,
        min_release=min_release,
        signed_at=workspace.now(),
        role=role,
        architecture=found.architecture,
        parameters=found.parameters,
        context=found.context,
        quantisation=found.quantisation,
        objects=(stored,),
        template=template,
        reasoning=wanted.reasoning or (found.reasoning if wanted.guess_reasoning else None),
        licence=wanted.licence or found.licence or None,
        card=wanted.card,
    )


def _check(manifest: Manifest) -> None:
    """What a box would not read back is refused before hours of work, in the reader's words."""
    try:
        Manifest.parse(manifest.to_bytes())
    except Damaged as error:
        raise UsageError(f"This cannot be put into a manifest: {error.what}", kept=_KEPT) from error


def _encrypt(
    workspace: Workspace, source: Model, slices: Slices, identity: str, key: bytes, report: Report
) -> tuple[str, ...]:
    """The segment hashes of the object, which lies in the workspace's objects afterwards."""
    disk, staged = workspace.disk, workspace.folder / STAGING / identity
    _check_space(workspace, slices)
    report(Step("Encrypting"))
    try:
        with translated("Encrypting the model failed"):
            make_dir(disk, staged)
            hashes = write_parts(staged, _reported(source, report), slices, key, identity, disk)
            publish(disk, staged, workspace.folder / OBJECTS / identity)
    except (Exception, KeyboardInterrupt):
        with contextlib.suppress(OSError):  # nobody believes what lies there; the next command clears it away
            disk.remove_tree(staged)
        raise
    return hashes


def _check_space(workspace: Workspace, slices: Slices) -> None:
    space = os.statvfs(workspace.folder)
    if slices.stored > space.f_bavail * space.f_frsize:
        raise NoSpace(
            f"The model takes {slices.stored} bytes and the publisher's disk has less.",
            kept=_KEPT,
            then="Free some space and run the same command again.",
        )


def _reported(source: Model, report: Report) -> Iterator[bytes | bytearray | memoryview]:
    """The model's bytes; ``Damaged`` as soon as its header turns out not to be the one that was checked."""
    done, head = 0, bytearray()
    for piece in source.stream():
        if len(head) < source.gguf.data_offset:
            head += piece
            if len(head) >= source.gguf.data_offset:
                _check_same(source, head)
        yield piece
        done += len(piece)
        report(Advance(done, source.size))


def _check_same(source: Model, head: bytearray) -> None:
    def read(offset: int, size: int) -> bytes:
        return bytes(head[offset : offset + size]).ljust(size, b"\0")  # what follows the header is not looked at

    if read_header(read, source.size) != source.gguf:
        raise Damaged("The file was changed while it was read.", kept=_KEPT, then="Run the same command again.")


def _commit(workspace: Workspace, manifest: Manifest, keys: dict[str, bytes]) -> None:
    data = manifest.to_bytes()
    repository = workspace.repository()
    repository.put(manifest.path, data)
    state = replace(workspace.state, objects={**workspace.state.objects, **keys})
    workspace.publish(repository, [data], state)
