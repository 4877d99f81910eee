"""The state of the box in one record: what ``status`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..catalogue import Active
from ..clock import stamp
from ..engine.protocol import ModelFacts
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
    catalogue = appliance.box.catalogue
    roles = {installed.key: installed.role for installed in catalogue.installed()}
    return [_model(appliance, active, roles) for active in catalogue.active()]


def _model(appliance: Appliance, active: Active, roles: Mapping[tuple[str, str, str], str]) -> dict[str, Any]:
    room, key = appliance.models, (active.publisher, active.name)
    role = roles.get((*key, active.version), "chat")
    record: dict[str, Any] = {"name": active.name, "version": active.version, "role": role, "state": "not loaded"}
    running, failure, percent = room.running(*key), room.failures.get(key), room.percent(*key)
    if percent is not None:
        record |= {"state": "loading", "percent": percent}
    if running:
        engine = running.engine.status()
        record |= {"state": engine.state, "restarts": engine.restarts, "running": engine.running}
        record |= {"id": running.card.id, "since": stamp(running.since)}
        if engine.state in ("loading", "restarting"):
            record["percent"] = engine.percent
        if engine.facts:
            record |= layout_of(engine.facts)
    elif room.resting(*key) and percent is None:
        record |= {
            "state": "resting",
            "why": "Memory does not bear all models: it is loaded when somebody asks for it.",
        }
    elif failure:
        record |= {"state": "failed", "why": failure.what}
    return record


def layout_of(facts: ModelFacts) -> dict[str, Any]:
    """How a loaded model is laid out in memory; sizes are bytes."""
    return {
        "context": facts.context,
        "parallel": facts.parallel,
        "kv_type": facts.kv_type,
        "flash_attention": facts.flash_attention,
        "gpu_layers": facts.gpu_layers,
        "weights_bytes": facts.model_bytes,
        "kv_bytes": facts.kv_bytes,
        "cache_bytes": facts.cache_bytes,
        "memory_bytes": facts.resident_bytes,
    }
