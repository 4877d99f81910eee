"""How a model is laid out in memory: how many sequences, how long, what type of KV cache, what goes on a GPU.

Pure: what a model takes (``shape``), what there is (``Room``) and the settings give a ``Layout``, with a reason in
words for every decision, or ``NoSpace`` with both numbers before anything is allocated.

* Set is set: what the settings name is taken, or refused; only what they leave open is worked out.
* Everybody at once before one for long: ``MOST_PARALLEL`` sequences of ``USUAL_CONTEXT`` tokens, then longer ones as
  far as memory goes, at most ``LARGEST_CONTEXT`` and never beyond what the model was trained for.
* The KV cache takes at most half of what the weights leave, so that parked conversations, other models and other
  programs have the rest. Where that would be fewer than ``LEAST_PARALLEL`` sequences, in this order: q8_0 instead of
  f16, shorter sequences, then all that is left, then fewer sequences.
* f16 before q8_0, since q8_0 needs flash attention, and both cost a processor time: measured on one core with 1,500
  tokens in the cache, a token takes 1.4 times as long with flash attention as without, and reading a prompt in q8_0
  twice as long. So on a processor flash attention is off unless q8_0 needs it; on a GPU llama.cpp decides.
* On a GPU first of all every layer, if the whole model fits there with ``LEAST_PARALLEL`` sequences. Otherwise as many
  layers as fit beside so many sequences (``gpu``), since every further one would push a layer off. Not run on a GPU:
  worked out from reports of devices alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from ..config import EngineSettings
from ..errors import NoSpace, UsageError
from .estimate import ROW_NUMBERS, USUAL_CONTEXT, Layout, Room, estimate, estimate_vectors, layers_on_devices
from .reasons import gib, reasons, reasons_of_vectors
from .shape import Shape

MOST_PARALLEL: Final = 32  # sequences, where their number is worked out
LEAST_PARALLEL: Final = 4  # sequences for which quality or length is given up
LARGEST_CONTEXT: Final = 32_768
SMALLEST_CONTEXT: Final = 2_048
HALF, ALL = 2, 1  # the cache takes one part in so many of what the weights leave
LEAST_RESERVE: Final = 256 << 20  # bytes that stay free in any case, and
RESERVE_SHARE: Final = 20  # of what is there one part in so many
PARKED: Final = 4  # parked conversations take at most so many times the KV cache


def plan(shape: Shape, room: Room, settings: EngineSettings) -> Layout:
    """The layout of a model of this shape in this room.

    Raises:
        NoSpace: even the smallest layout that the settings allow does not fit; says what is needed and what is there.
        UsageError: the settings contradict each other, or do not suit the model.
    """
    _check(shape, settings)
    spare = room.memory - reserve(room.memory)
    tried = []
    for share, candidate in _candidates(shape, room, settings):
        if _fits(candidate, shape, room, settings, spare, share):
            chosen = replace(candidate, cache_bytes=_cache(candidate, settings, spare))
            return replace(chosen, reasons=reasons(chosen, shape, room, settings, LEAST_PARALLEL))
        tried.append(candidate)
    raise _no_space(min(tried, key=lambda one: one.host_bytes), room, settings)


def plan_vectors(shape: Shape, room: Room, settings: EngineSettings) -> Layout:
    """The same for an embedding model: one text may be as long as half of what is left allows (see ``pooling``).

    Raises:
        NoSpace: as :func:`plan`.
    """
    trained = shape.trained or USUAL_CONTEXT
    contexts = [max(1, min(settings.context or USUAL_CONTEXT, trained))]
    if not settings.context:
        if not shape.pieces:
            contexts[0] = min(contexts[0], max(1, ROW_NUMBERS // max(shape.vocabulary, 1)))
        while contexts[-1] // 2 >= min(SMALLEST_CONTEXT, settings.batch):
            contexts.append(contexts[-1] // 2)
    spare = room.memory - reserve(room.memory)
    for context in contexts:
        layout = estimate_vectors(shape, room, settings, context)
        left = spare - layout.fixed_bytes
        if (layout.host_bytes - layout.fixed_bytes) * (ALL if settings.context else HALF) <= left:
            return replace(layout, reasons=reasons_of_vectors(layout, shape, room, settings))
    raise _no_space(layout, room, replace(settings, cache_mib=0))


def reserve(memory: int) -> int:
    """Bytes of so many that stay free for everything else on the machine."""
    return max(LEAST_RESERVE, memory // RESERVE_SHARE)


def _check(shape: Shape, settings: EngineSettings) -> None:
    if settings.kv_type == "q8_0" and settings.flash_attention == "off":
        raise UsageError(
            "A KV cache of type q8_0 needs flash attention, and the settings turn it off.",
            kept="Nothing was loaded.",
            then='Set engine.flash_attention to "auto", or engine.kv_type to "f16".',
        )
    if settings.kv_type == "q8_0" and not shape.quantisable:
        raise UsageError(
            "The heads of this model are not multiples of 32 wide, so that its KV cache cannot be of type q8_0.",
            kept="Nothing was loaded.",
            then='Set engine.kv_type to "auto".',
        )


def _candidates(shape: Shape, room: Room, settings: EngineSettings) -> Iterator[tuple[int, Layout]]:
    """Every layout worth trying, the best first, each with the cache's share."""
    contexts, types = _contexts(shape, settings), _types(shape, settings)
    crowded = _partly_on_devices(shape, room, settings)
    most = settings.parallel or (LEAST_PARALLEL if crowded else MOST_PARALLEL)
    least = settings.parallel or LEAST_PARALLEL
    for context in contexts:
        if context > USUAL_CONTEXT and not settings.context and not crowded:
            yield HALF, estimate(shape, room, settings, context, most, types[0])
    for share in (HALF, ALL):
        for context in contexts:
            if context > USUAL_CONTEXT and not settings.context:
                continue
            for kv_type in types:
                for parallel in range(most, least - 1, -1):
                    yield share, estimate(shape, room, settings, context, parallel, kv_type)
    for parallel in range(least - 1, 0, -1) if not settings.parallel else ():
        yield ALL, estimate(shape, room, settings, contexts[-1], parallel, types[-1])


def _partly_on_devices(shape: Shape, room: Room, settings: EngineSettings) -> bool:
    return bool(room.devices) and settings.gpu_layers < 0 and not _whole_model_fits(shape, room)


def _contexts(shape: Shape, settings: EngineSettings) -> list[int]:
    """Lengths of a sequence to try, the longest first."""
    trained = shape.trained or USUAL_CONTEXT
    if settings.context:
        return [max(1, min(settings.context, trained))]
    contexts = [min(trained, LARGEST_CONTEXT)]
    while contexts[-1] // 2 >= SMALLEST_CONTEXT:
        contexts.append(contexts[-1] // 2)
    return contexts


def _types(shape: Shape, settings: EngineSettings) -> list[str]:
    if settings.kv_type != "auto":
        return [settings.kv_type]
    return ["f16"] if settings.flash_attention == "off" or not shape.quantisable else ["f16", "q8_0"]


def _fits(layout: Layout, shape: Shape, room: Room, settings: EngineSettings, spare: int, share: int) -> bool:
    if settings.gpu_layers < 0 and layout.gpu_layers <= shape.layers and _whole_model_fits(shape, room):
        return False  # fewer or shorter sequences, rather than a layer that is left behind
    wanted_cache = max(settings.cache_mib, 0) << 20
    left = spare - wanted_cache - (layout.host_bytes - layout.kv_on_host)
    return layout.kv_on_host * share <= left


def _whole_model_fits(shape: Shape, room: Room) -> bool:
    """Whether a GPU could take all of it with the least that is worth having."""
    context = min(shape.trained or USUAL_CONTEXT, SMALLEST_CONTEXT)
    return layers_on_devices(shape, room, shape.kv_bytes("f16", context, LEAST_PARALLEL)) > shape.layers


def _cache(layout: Layout, settings: EngineSettings, spare: int) -> int:
    """What parked conversations may take: as set, or half of what is left over."""
    if settings.cache_mib >= 0:
        return settings.cache_mib << 20
    return min(max(spare - layout.host_bytes, 0) // 2, PARKED * layout.kv_bytes)


def _no_space(smallest: Layout, room: Room, settings: EngineSettings) -> NoSpace:
    cache = max(settings.cache_mib, 0) << 20
    needed = smallest.host_bytes + cache + reserve(room.memory)
    return NoSpace(
        f"The model does not fit in memory: with {smallest.parallel} × {smallest.context} tokens of context it needs"
        f" {gib(needed)}, and {gib(max(room.memory, 0))} are there.",
        kept="Nothing was loaded.",
        then="Unload another model, set a smaller engine.context or engine.parallel, or use a smaller model.",
    )
