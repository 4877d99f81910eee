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

LAST, RANK = 3, 4
"""The pooling of models whose vector is that of the last token, and of those that score a text against a question."""

BOTH_WAYS = frozenset(
    {
        "bert",
        "eurobert",
        "gemma-embedding",
        "jina-bert-v2",
        "jina-bert-v3",
        "llama-embed",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "t5encoder",
    }
)
"""Architectures that see every text from both ends, whatever else the file says: they embed and cannot write."""


@dataclass(frozen=True)
class Summary:
    """``parameters`` counts single weights; ``context`` is in tokens; ``reasoning`` is a guess from the vocabulary.
    ``writes``: whether it can chat at all, whatever it was made for."""

    name: str
    architecture: str
    parameters: int
    context: int
    quantisation: str
    vocabulary: int
    role: Role
    writes: bool
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
        writes=not sees_both_ways(gguf),
        chat_template=gguf.chat_template,
        reasoning=reasoning_markers(gguf),
        licence=gguf.text("general.license") or "",
    )


def role_of(gguf: Gguf) -> Role:
    """``embedding`` where the model pools its outputs or sees a text from both ends, otherwise ``chat``.

    Raises ``TooNew`` for a model that ranks texts.
    """
    pooling = gguf.integer(f"{gguf.architecture}.pooling_type") or 0
    if pooling == RANK:
        raise TooNew("The model ranks texts, which this version has no use for.", then="It needs a newer Lumen Box.")
    return "embedding" if pooling > 0 or sees_both_ways(gguf) else "chat"


def sees_both_ways(gguf: Gguf) -> bool:
    """Whether a token attends to those after it, so that no text can be written one token after the other."""
    causal = gguf.truth(f"{gguf.architecture}.attention.causal")
    return causal is False or gguf.architecture in BOTH_WAYS


def reads_in_pieces(gguf: Gguf) -> bool:
    """Whether an embedding model may be given a long text piece by piece: it looks back only, and its vector is that
    of the last token."""
    return gguf.integer(f"{gguf.architecture}.pooling_type") == LAST and not sees_both_ways(gguf)


def reasoning_markers(gguf: Gguf) -> tuple[str, str] | None:
    """The pair of markers that are both tokens of the model, or ``None``."""
    tokens = set(gguf.tokens)
    return next((pair for pair in REASONING_MARKERS if tokens.issuperset(pair)), None)
