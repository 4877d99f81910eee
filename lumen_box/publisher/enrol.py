"""Enrolling boxes: the first time by a fingerprint read aloud, afterwards by the box's own signature."""

from __future__ import annotations

from dataclasses import replace

from ..bundle.enrolment import Enrolment
from ..errors import Stale, Untrusted, UsageError
from ..sealed.fingerprint import Fingerprint
from .workspace import Workspace, digest


def enrol(workspace: Workspace, data: bytes, fingerprint: Fingerprint | None) -> Enrolment:
    """Enrols the box whose enrolment file is ``data``; the next export is for it too.

    Args:
        workspace: of the publisher.
        data: the file as it came from the box.
        fingerprint: as read aloud at the box; may be left out where the box is enrolled already.

    Raises:
        UsageError: the box is new and no fingerprint was given. Untrusted: the fingerprint or signature is wrong, the
        box was revoked, or it signed two enrolments with one number. Stale: a newer enrolment is known.
        Damaged, TooNew: the file.
    """
    enrolment = Enrolment.parse(data, fingerprint)
    if enrolment.box_id in workspace.repository().revocations.boxes:
        raise Untrusted(f"The box {enrolment.name!r} was revoked.", kept="Nothing was changed.")
    known = workspace.state.boxes.get(enrolment.box_id)
    if known is None and fingerprint is None:
        raise UsageError(
            f"The box {enrolment.name!r} is not enrolled yet.",
            kept="Nothing was changed.",
            then="Have its fingerprint read aloud at the box, and give it with --fingerprint.",
        )
    if known != digest(data):
        if known is not None:
            _check_newer(enrolment, Enrolment.parse(workspace.file(known)))
        workspace.write_files([data])
        boxes = {**workspace.state.boxes, enrolment.box_id: digest(data)}
        workspace.commit(replace(workspace.state, boxes=boxes))
    return enrolment


def _check_newer(enrolment: Enrolment, known: Enrolment) -> None:
    if enrolment.sequence < known.sequence:
        raise Stale(
            f"This is enrolment {enrolment.sequence} of the box {enrolment.name!r}; {known.sequence} is known.",
            kept="Nothing was changed.",
            then="Export the enrolment at the box again.",
        )
    same = (enrolment.recipient, enrolment.audit, enrolment.name) == (known.recipient, known.audit, known.name)
    if enrolment.sequence == known.sequence and not same:
        raise Untrusted(
            f"The box {enrolment.name!r} signed two different enrolments with the number {enrolment.sequence}.",
            kept="Nothing was changed.",
            then="Ask whoever runs the box what happened, and have it enrolled under a new number.",
        )
