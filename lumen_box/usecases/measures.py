"""What running models say about themselves for ``/metrics``: names without people, prompts or token ids."""

from __future__ import annotations

from collections.abc import Iterable

from ..engine.protocol import ModelFacts
from ..schemas.metrics import Sample
from .running import RunningModel


def samples(running: Iterable[RunningModel]) -> Iterable[Sample]:
    """Restarts, sequences and memory of each model."""
    for one in running:
        status, labels = one.engine.status(), (("model", one.card.id),)
        yield Sample("lumen_engine_restarts_total", "Workers replaced", status.restarts, "counter", labels)
        yield Sample("lumen_engine_running", "Sequences being decoded", status.running, "gauge", labels)
        yield Sample("lumen_engine_waiting", "Requests waiting in the engine", status.waiting, "gauge", labels)
        if status.facts:
            yield from _sizes(status.facts, labels)


def _sizes(facts: ModelFacts, labels: tuple[tuple[str, str], ...]) -> Iterable[Sample]:
    for name, help, value in (
        ("lumen_engine_loaded_bytes", "Memory of the worker after loading", facts.resident_bytes),
        ("lumen_engine_weights_bytes", "Weights of the model", facts.model_bytes),
        ("lumen_engine_kv_bytes", "KV cache of all sequences", facts.kv_bytes),
        ("lumen_engine_parked_budget_bytes", "Memory that the KV of resting conversations may take", facts.cache_bytes),
        ("lumen_engine_sequences", "Sequences that run at once", facts.parallel),
        ("lumen_engine_context_tokens", "Tokens of context of one sequence", facts.context),
    ):
        yield Sample(name, help, value, "gauge", labels)
