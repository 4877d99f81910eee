"""Checks the sizes that a model declares about itself.

llama.cpp asserts on these while it loads (an assertion ends the process) or divides by them later; each check names
the key. What it merely refuses with an exception is left to it, so that new architectures need no change here.
"""

from __future__ import annotations

from ..errors import TooNew
from .limits import MAX_BLOCKS, MAX_EXPERTS, MAX_LENGTH
from .model import Gguf, quoted, unsound
from .values import ValueType

ROPE_SCALINGS = frozenset({"none", "linear", "yarn", "longrope"})
EPSILONS = ("attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon", "attention.group_norm_epsilon")
LATER_KINDS = {"adapter": "an adapter", "mmproj": "an image or audio encoder", "imatrix": "an importance matrix"}


def check_hyperparameters(gguf: Gguf) -> None:
    """Raises ``Damaged`` for sizes that cannot be, ``TooNew`` for files that are not language models."""
    _check_kind(gguf)
    blocks = _size(gguf, "block_count", MAX_BLOCKS)
    _size(gguf, "context_length", MAX_LENGTH)
    width = _size(gguf, "embedding_length", MAX_LENGTH)
    if _number(gguf, "nextn_predict_layers") >= blocks:
        raise unsound("all of its layers are for predicting ahead")
    _check_experts(gguf, blocks)
    heads = _check_heads(gguf, blocks)
    _check_rope(gguf, width, heads)
    _check_epsilons(gguf)


def _check_kind(gguf: Gguf) -> None:
    architecture = gguf.architecture
    if not architecture or not architecture.isprintable() or "." in architecture:
        raise unsound(f"its architecture is {quoted(architecture)}")
    kind = "mmproj" if architecture == "clip" else gguf.text("general.type") or "model"
    if kind in LATER_KINDS:
        raise TooNew(
            f"The GGUF file holds {LATER_KINDS[kind]}, not a language model.",
            then="This version takes language models only.",
        )


def _key(gguf: Gguf, name: str) -> str:
    return f"{gguf.architecture}.{name}"


def _u32(gguf: Gguf, name: str) -> int | None:
    value = gguf.metadata.get(_key(gguf, name))
    if value is not None and value.type is not ValueType.U32:
        raise unsound(f"{quoted(_key(gguf, name))} is not a 32-bit number")
    return gguf.integer(_key(gguf, name))


def _number(gguf: Gguf, name: str) -> int:
    return _u32(gguf, name) or 0


def _size(gguf: Gguf, name: str, cap: int) -> int:
    number = _u32(gguf, name)
    if number is None:
        raise unsound(f"{quoted(_key(gguf, name))} is missing")
    if not 1 <= number <= cap:
        raise unsound(f"{quoted(_key(gguf, name))} is {number}, which is not from 1 to {cap}")
    return number


def _per_block(gguf: Gguf, name: str, blocks: int) -> tuple[int, ...] | None:
    """One number for every layer; the file may give one for all."""
    value = gguf.metadata.get(_key(gguf, name))
    if value is None:
        return None
    if value.type is not ValueType.ARRAY:
        return (_number(gguf, name),) * blocks
    items = gguf.items(_key(gguf, name), ValueType.U32, ValueType.I32) or ()
    if len(items) != blocks:
        raise unsound(f"{quoted(_key(gguf, name))} has {len(items)} entries for {blocks} layers")
    numbers = tuple(int(item) for item in items)
    if min(numbers) < 0:
        raise unsound(f"{quoted(_key(gguf, name))} has a negative entry")
    return numbers


def _check_experts(gguf: Gguf, blocks: int) -> None:
    experts, used = _number(gguf, "expert_count"), max(_per_block(gguf, "expert_used_count", blocks) or (0,))
    groups, group_used = _number(gguf, "expert_group_count"), _number(gguf, "expert_group_used_count")
    if gguf.architecture.startswith("hunyuan") and experts <= 1:
        return  # these say "one expert" for none
    if experts > MAX_EXPERTS:
        raise unsound(f"it claims {experts} experts; at most {MAX_EXPERTS} are allowed")
    if used > experts or (experts and not used):
        raise unsound(f"it uses {used} of {experts} experts")
    if groups and groups >= experts:
        raise unsound(f"it has {groups} groups of {experts} experts")
    if groups > 1 and (experts % groups or not 0 < group_used < groups):
        raise unsound(f"it uses {group_used} of {groups} groups of {experts} experts")


def _check_heads(gguf: Gguf, blocks: int) -> int:
    """The number of attention heads in the first layer, 0 for a model without attention."""
    heads = _per_block(gguf, "attention.head_count", blocks) or (0,) * blocks
    shared = _per_block(gguf, "attention.head_count_kv", blocks) or heads
    for head, kv in zip(heads, shared, strict=True):
        if head and kv and head % kv:
            raise unsound(f"{head} attention heads cannot share {kv} keys and values")
    return heads[0]


def _check_rope(gguf: Gguf, width: int, heads: int) -> None:
    scaling = gguf.text(_key(gguf, "rope.scaling.type"))
    if scaling is not None and scaling not in ROPE_SCALINGS:
        raise unsound(f"its rope scaling {quoted(scaling)} is unknown")
    turned = _number(gguf, "rope.dimension_count")
    given = _u32(gguf, "attention.key_length")
    head = given if given is not None else (width // heads if heads else 0)
    if heads and not head:
        raise unsound(f"{heads} attention heads do not fit an embedding of {width}")
    if turned % 2 or (head and turned > head):
        raise unsound(f"it turns {turned} of {head} dimensions of a head")


def _check_epsilons(gguf: Gguf) -> None:
    """What keeps a norm from dividing by zero is asserted not to be negative, in the middle of an answer."""
    for name in EPSILONS:
        value = gguf.metadata.get(_key(gguf, name))
        if value is not None and not (isinstance(value.data, float) and value.data >= 0):
            raise unsound(f"{quoted(_key(gguf, name))} is not a positive number")
