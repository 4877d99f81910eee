"""Taking back a version, an object or a box. It takes effect at a box when it next sees a medium."""

from __future__ import annotations

from dataclasses import replace

from ..bundle.layout import HEX16, HEX32, checked
from ..errors import NotFound
from .model import find
from .workspace import Workspace


def revoke(
    workspace: Workspace,
    *,
    model: str | None = None,
    object_id: str | None = None,
    box: str | None = None,
    stop: bool = False,
    reason: str = "",
) -> str:
    """Revokes one of: ``model`` (``name@version``), ``object_id``, ``box`` (id or name). Returns what, in words.

    With ``stop`` a model that runs is stopped as well. Revoking again can add ``stop`` and changes the reason.
    """
    repository = workspace.repository()
    state = workspace.state
    bundles = [find(workspace, model).path] if model else []
    objects = [_object(workspace, object_id)] if object_id else []
    boxes = [_box(workspace, box)] if box else []
    repository.revoke(
        repository.revocations.adding(bundles=bundles, objects=objects, boxes=boxes, stop=stop, reason=reason)
    )
    kept = {identity: sha256 for identity, sha256 in state.boxes.items() if identity not in boxes}
    workspace.publish(repository, state=replace(state, boxes=kept))
    return model or (f"the object {object_id}" if object_id else f"the box {box}")


def _object(workspace: Workspace, wanted: str) -> str:
    identity = checked(wanted, HEX16, "An object id")
    if identity not in workspace.state.objects:
        raise NotFound(f"This publisher has no object {identity}.", kept="Nothing was changed.")
    return identity


def _box(workspace: Workspace, wanted: str) -> str:
    """An enrolled box by name or id; or the id of one revoked before."""
    if wanted in workspace.repository().revocations.boxes:
        return checked(wanted, HEX32, "A box id")
    return workspace.box_id(wanted)
