"""What a publisher has: its models, its boxes, and what of them was taken back."""

from __future__ import annotations

from typing import Any

from .workspace import Workspace


def overview(workspace: Workspace) -> dict[str, Any]:
    """One record, its lists by name: ``revoked`` is the reason given (perhaps empty), or None."""
    repository = workspace.repository()
    revocations = repository.revocations
    models = []
    for path, manifest in workspace.manifests().items():
        found = revocations.find(path=path, objects=[manifest.model.id])
        models.append(
            {
                "name": manifest.name,
                "version": manifest.version,
                "release": manifest.release,
                "role": manifest.role,
                "quantisation": manifest.quantisation,
                "size": manifest.model.size,
                "object": manifest.model.id,
                "revoked": found.reason if found else None,
            }
        )
    boxes = [
        {"name": box.name, "id": identity, "sequence": box.sequence, "revoked": None}
        for identity, box in workspace.enrolments().items()
    ]
    gone = [{"name": None, "id": identity, "revoked": why.reason} for identity, why in revocations.boxes.items()]
    return {
        "publisher": workspace.id,
        "name": repository.name,
        "models": sorted(models, key=lambda model: (model["name"], model["release"])),
        "boxes": sorted(boxes, key=lambda box: (box["name"], box["id"])) + gone,
    }
