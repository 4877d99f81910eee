"""What a manifest says about a model, read from its header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import TooNew
from .model import Gguf

Role = Literal["chat", "embedding"]

REASONING_MARKERS = (
    ("<think>", "</think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
)
"""Pairs of tokens between which known reasoning models think aloud."""

RANK = 4
"""The pooling of models that score a text against a question."""


@dataclass(frozen=True)
class Summary:
    """``parameters`` counts single weights; ``context`` is in tokens; ``reasoning`` is a guess from the vocabulary."""

    name: str
    architecture: str
    parameters: int
    context: int
    quantisation: str
    vocabulary: int
    role: Role
    chat_template: str | None
    reasoning: tuple[str, str] | None
    licence: str


def summarise(gguf: Gguf) -> Summary:
    """Raises ``TooNew`` for a model that neither chats nor embeds."""
    return Summary(
        name=gguf.name,
        architecture=gguf.architecture,
        parameters=gguf.parameter_count,
        context=gguf.context_length,
        quantisation=gguf.quantisation,
        vocabulary=len(gguf.tokens),
        role=role_of(gguf),
        chat_template=gguf.chat_template,
        reasoning=reasoning_markers(gguf),
        licence=gguf.text("general.license") or "",
    )


def role_of(gguf: Gguf) -> Role:
    """``embedding`` where the model pools its outputs or sees a text from both ends, otherwise ``chat``."""
    pooling = gguf.integer(f"{gguf.architecture}.pooling_type") or 0
    if pooling == RANK:
        raise TooNew("The model ranks texts, which this version has no use for.", then="It needs a newer Lumen Box.")
    causal = gguf.truth(f"{gguf.architecture}.attention.causal")
    return "embedding" if pooling > 0 or causal is False else "chat"


def reasoning_markers(gguf: Gguf) -> tuple[str, str] | None:
    """The pair of markers that are both tokens of the model, or ``None``."""
    tokens = set(gguf.tokens)
    return next((pair for pair in REASONING_MARKERS if tokens.issuperset(pair)), None)
