"""Counting, and Prometheus' text format (version 0.0.4). No user, prompt or token id appears in a label."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..engine.protocol import Finished
from ..errors import LumenError
from ..schemas.metrics import Labels, Sample

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds


@dataclass
class Counter:
    name: str
    help: str
    values: dict[Labels, float] = field(default_factory=dict)

    def add(self, amount: float = 1, **labels: str) -> None:
        key = tuple(labels.items())
        self.values[key] = self.values.get(key, 0) + amount

    def lines(self) -> Iterable[str]:
        yield from _head(self.name, self.help, "counter")
        for labels, value in self.values.items() or [((), 0.0)]:
            yield _line(self.name, labels, value)


@dataclass
class Histogram:
    name: str
    help: str
    buckets: tuple[float, ...]
    counts: list[int] = field(init=False)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.buckets) + 1)

    def observe(self, value: float) -> None:
        at = next((i for i, most in enumerate(self.buckets) if value <= most), len(self.buckets))
        self.counts[at] += 1
        self.total += value

    def lines(self) -> Iterable[str]:
        yield from _head(self.name, self.help, "histogram")
        below = 0
        for most, count in zip((*map(str, self.buckets), "+Inf"), self.counts, strict=True):
            below += count
            yield _line(f"{self.name}_bucket", (("le", most),), below)
        yield _line(f"{self.name}_sum", (), self.total)
        yield _line(f"{self.name}_count", (), below)


class GatewayMetrics:
    """What the gateway itself counts."""

    def __init__(self) -> None:
        self.requests = Counter("lumen_generations_total", "Answers by how they ended.")
        self.prompt = Counter("lumen_prompt_tokens_total", "Prompt tokens read, by model.")
        self.completion = Counter("lumen_completion_tokens_total", "Tokens generated, by model.")
        self.rejected = Counter("lumen_queue_full_total", "Requests refused because the queue was full.")
        self.first_token = Histogram(
            "lumen_first_token_seconds", "From taking a request on to its first token.", SECONDS_BUCKETS
        )
        self.waiting = Histogram(
            "lumen_waiting_seconds", "Waiting for a turn in the engine, of answers that were finished.", SECONDS_BUCKETS
        )

    def ended(self, model: str, finished: Finished | None, error: LumenError | None) -> None:
        outcome = error.code if error is not None else finished.reason if finished else "unexpected"
        self.requests.add(model=model, outcome=outcome)
        if finished is not None:
            self.waiting.observe(finished.timings.waiting)
            self.prompt.add(finished.usage.prompt_tokens, model=model)
            self.completion.add(finished.usage.completion_tokens, model=model)

    def text(self, samples: Iterable[Sample]) -> str:
        """The whole page: what was counted here, then ``samples`` from elsewhere, grouped by name."""
        lines: list[str] = []
        for own in (self.requests, self.prompt, self.completion, self.rejected, self.first_token, self.waiting):
            lines.extend(own.lines())
        grouped: dict[str, list[Sample]] = {}
        for sample in samples:
            grouped.setdefault(sample.name, []).append(sample)
        for name, group in grouped.items():
            lines.extend(_head(name, group[0].help, group[0].kind))
            lines.extend(_line(name, sample.labels, sample.value) for sample in group)
        return "\n".join(lines) + "\n"


def _head(name: str, help: str, kind: str) -> Iterable[str]:
    yield f"# HELP {name} {_escaped(help)}"
    yield f"# TYPE {name} {kind}"


def _line(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{key}="{_quoted(text)}"' for key, text in labels)
    shown = repr(int(value)) if float(value).is_integer() else repr(float(value))
    return f"{name}{{{inside}}} {shown}" if inside else f"{name} {shown}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")
