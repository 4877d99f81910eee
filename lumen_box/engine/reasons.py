"""Why a model is laid out as it is, in words for the operator who looks at it."""

from __future__ import annotations

from collections.abc import Iterator

from ..config import EngineSettings
from .estimate import Layout, Room
from .shape import Shape


def gib(size: int) -> str:
    """Bytes for a person."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def reasons(layout: Layout, shape: Shape, room: Room, settings: EngineSettings, least: int) -> tuple[str, ...]:
    """One sentence a decision; ``least`` is the number of sequences below which something else is given up first."""
    return (
        _sequences(layout, room, settings),
        _context(layout, shape, settings),
        _kv_type(layout, shape, settings, least),
        _flash(layout, settings),
        *_layers(layout, shape, room, settings),
        f"{gib(layout.cache_bytes)} for the KV of conversations that rest"
        + (": as set." if settings.cache_mib >= 0 else ": at most half of what is left over."),
    )


def reasons_of_vectors(layout: Layout, shape: Shape, room: Room, settings: EngineSettings) -> tuple[str, ...]:
    """The same for an embedding model, which keeps nothing between requests."""
    return (_context(layout, shape, settings), *_layers(layout, shape, room, settings))


def _sequences(layout: Layout, room: Room, settings: EngineSettings) -> str:
    why = "as set" if settings.parallel else f"what {gib(room.memory)} of memory allow"
    return f"{layout.parallel} sequences at once: {why}."


def _context(layout: Layout, shape: Shape, settings: EngineSettings) -> str:
    if layout.context == shape.trained:
        why = "what the model was trained for"
    elif settings.context:
        why = "as set"
    else:
        why = f"what memory allows for so many sequences, of the {shape.trained} that the model was trained for"
    return f"{layout.context} tokens of context in each: {why}."


def _kv_type(layout: Layout, shape: Shape, settings: EngineSettings, least: int) -> str:
    if settings.kv_type != "auto":
        why = "as set"
    elif layout.kv_type == "q8_0":
        why = f"in f16 fewer than {settings.parallel or least} sequences would fit"
    else:
        why = "it fits" if shape.quantisable else "the model's heads are not multiples of 32 wide"
    return f"KV cache in {layout.kv_type}, {gib(layout.kv_bytes)} in all: {why}."


def _flash(layout: Layout, settings: EngineSettings) -> str:
    if layout.kv_type == "q8_0":
        why = "q8_0 needs it"
    elif settings.flash_attention != "auto":
        why = "as set"
    else:
        why = "llama.cpp decides on a GPU" if layout.flash_attention == "auto" else "on a processor it is slower"
    return f"Flash attention {layout.flash_attention}: {why}."


def _layers(layout: Layout, shape: Shape, room: Room, settings: EngineSettings) -> Iterator[str]:
    if room.devices:
        free = " + ".join(gib(device.free) for device in room.devices)
        why = "as set" if settings.gpu_layers >= 0 else f"what fits in {free}"
        yield f"{min(layout.gpu_layers, shape.layers)} of {shape.layers} layers on a GPU: {why}."
