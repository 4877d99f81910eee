"""The state of the box in one record: what ``status`` prints."""

from __future__ import annotations

from typing import Any

from ..release import VERSION
from .appliance import Appliance


def status(appliance: Appliance, url: str | None) -> dict[str, Any]:
    """``ready`` is whether a question asked now would be answered; ``url`` is None where no gateway runs."""
    box = appliance.box
    return {
        "name": box.identity.name,
        "box_id": box.identity.box_id,
        "version": VERSION,
        "state": appliance.state(),
        "ready": appliance.state() == "ready",
        "sealed": box.sealed,
        "url": url,
        "home": str(box.home.root),
        "models": _models(appliance),
        "audit_lines": box.audit.size,
    }


def _models(appliance: Appliance) -> list[dict[str, Any]]:
    """Every active model, and how its engine is."""
    box, found = appliance.box, []
    roles = {installed.key: installed.role for installed in box.catalogue.installed()}
    for active in box.catalogue.active():
        role = roles.get((active.publisher, active.name, active.version), "chat")
        record: dict[str, Any] = {"name": active.name, "version": active.version, "role": role, "state": "not loaded"}
        running = appliance.models.running(active.publisher, active.name)
        failure = appliance.models.failures.get((active.publisher, active.name))
        if running:
            engine = running.engine.status()
            record |= {"state": engine.state, "restarts": engine.restarts, "running": engine.running}
            record["id"] = running.card.id
            if engine.facts:
                record |= {"context": engine.facts.context, "gpu_layers": engine.facts.gpu_layers}
        elif failure:
            record |= {"state": "failed", "why": failure.what}
        found.append(record)
    return found
