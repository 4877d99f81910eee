"""Writing media for enrolled boxes: what was signed before, and a sealed content key for each box.

Exporting signs nothing, unless the newest signature has become so old that boxes would soon find it expired. A box
that was enrolled after a model was added only adds a file to each object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ..bundle.enrolment import Enrolment
from ..bundle.layout import target_file
from ..bundle.recipients import seal_content_key
from ..bundle.writer import Carried, Export, plan, write_medium
from ..clock import parse_stamp
from ..errors import UsageError
from ..progress import Note, Report
from ..strictjson import loads
from ..trust.revocations import Revocations
from .workspace import OBJECTS, Workspace

SIGN_AGAIN_AFTER = timedelta(days=30)


@dataclass(frozen=True)
class Written:
    """One medium as it was written: where, and which of how many it is."""

    path: Path
    number: int
    total: int


def export(
    workspace: Workspace,
    where: Path,
    report: Report,
    *,
    boxes: Sequence[str] = (),
    capacity: int | None = None,
    medium: int | None = None,
) -> list[Written]:
    """Writes the media for all enrolled boxes, or for those named by id or name.

    Without ``capacity`` everything goes to one medium, at ``where``. With it (bytes a medium) as many are written as
    are needed, each in its own folder ``where/medium-1``, …; or only number ``medium`` of them, at ``where`` itself,
    for sticks that are inserted one after another. Run again after an interruption it goes on.
    """
    if medium is not None and capacity is None:
        raise UsageError("--medium needs --medium-size.", kept="Nothing was written.")
    enrolled = workspace.enrolments()
    chosen = [enrolled[workspace.box_id(name)] for name in boxes] if boxes else list(enrolled.values())
    if not chosen:
        report(Note("No box is enrolled, so none can open the models on this medium."))
    _sign_again_if_old(workspace)
    content = _content(workspace, chosen)
    media = plan(content, capacity)
    if medium is not None and not 1 <= medium <= len(media):
        raise UsageError(f"This export takes {len(media)} media; there is no number {medium}.")
    written = []
    for number in [medium] if medium is not None else range(1, len(media) + 1):
        path = where / f"medium-{number}" if capacity is not None and medium is None else where
        write_medium(path, content, media[number - 1], workspace.disk, report)
        written.append(Written(path, number, len(media)))
    return written


def _sign_again_if_old(workspace: Workspace) -> None:
    timestamp = workspace.file(workspace.state.metadata["timestamp.json"])
    signed = loads(timestamp, what="The timestamp", max_bytes=len(timestamp))["signed"]
    if workspace.now() - parse_stamp(signed["signed_at"]) > SIGN_AGAIN_AFTER:
        workspace.publish(workspace.repository())


def _content(workspace: Workspace, boxes: Sequence[Enrolment]) -> Export:
    """Everything signed; of the objects those that were not revoked, nor all versions that use them."""
    state = workspace.state
    targets = {"/".join(target_file(path, sha256)): workspace.file(sha256) for path, sha256 in state.targets.items()}
    revocations = workspace.repository().revocations
    return Export(
        publisher=workspace.id,
        metadata={name: workspace.file(sha256) for name, sha256 in state.metadata.items()},
        targets=targets,
        objects=_objects(workspace, revocations, boxes),
    )


def _objects(workspace: Workspace, revocations: Revocations, boxes: Sequence[Enrolment]) -> list[Carried]:
    good = {
        manifest.model.id: manifest.model
        for path, manifest in workspace.manifests().items()
        if revocations.find(path=path, objects=[manifest.model.id]) is None
    }
    return [
        Carried(
            stored,
            workspace.folder / OBJECTS / identity,
            {
                box.recipient.key_id: seal_content_key(
                    workspace.state.objects[identity], identity, box.box_id, box.recipient
                )
                for box in boxes
            },
        )
        for identity, stored in good.items()
    ]
