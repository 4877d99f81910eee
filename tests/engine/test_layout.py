"""How models are laid out, from tables of recorded machines: small laptop, two-core box, server, GPUs, container."""

from __future__ import annotations

import dataclasses
import io

import pytest

from lumen_box.config import EngineSettings
from lumen_box.engine.estimate import Layout, Room
from lumen_box.engine.gpu import Device
from lumen_box.engine.layout import LEAST_PARALLEL, plan, plan_vectors, reserve
from lumen_box.engine.shape import Shape, shape_of
from lumen_box.errors import NoSpace, UsageError
from lumen_box.gguf import values as v
from lumen_box.gguf.reader import read_header
from tests.support import good_gguf

GIB = 1 << 30
# 8 billion parameters in Q4_K_M: 32 layers, 8 heads of 128 for keys and values, trained for 131,072 tokens.
EIGHT = Shape(32, 4_920_000_000, 4_300_000_000, 131_072, 128_256, 32 * 8 * 256, 0, 32, 4 * 4096 + 2 * 14336, True)
# 70 billion: 80 layers with as many heads.
SEVENTY = Shape(80, 42_500_000_000, 41_000_000_000, 131_072, 128_256, 80 * 8 * 256, 0, 64, 4 * 8192 + 2 * 28672, True)
# A small one of the kind that the demo ships.
SMALL = Shape(12, 60_000_000, 50_000_000, 1024, 8192, 12 * 4 * 128, 0, 8, 4 * 512 + 2 * 1536, True)

H100 = Device("CUDA0", 79 * GIB, 80 * GIB)
RTX4090 = Device("CUDA0", int(22.5 * GIB), 24 * GIB)

SETTINGS = EngineSettings()


def laid_out(shape: Shape, room: Room, **set_to: object) -> Layout:
    return plan(shape, room, dataclasses.replace(SETTINGS, **set_to))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shape", "room", "parallel", "context", "kv_type", "layers"),
    [
        (EIGHT, Room(int(7.2 * GIB)), 6, 2048, "q8_0", 0),  # a laptop with 8 GB, most of it free
        (EIGHT, Room(22 * GIB), 7, 8192, "f16", 0),  # the two-core box with 24 GB
        (EIGHT, Room(240 * GIB), 32, 16384, "f16", 0),  # a server with 256 GB
        (SEVENTY, Room(240 * GIB), 32, 8192, "f16", 0),
        (EIGHT, Room(8 * GIB), 4, 4096, "q8_0", 0),  # a container with 8 GB
        (SMALL, Room(2 * GIB), 32, 1024, "f16", 0),  # never longer than trained for
        (EIGHT, Room(60 * GIB, (H100,)), 32, 16384, "f16", 33),
        (EIGHT, Room(60 * GIB, (RTX4090,)), 15, 8192, "f16", 33),
        (SEVENTY, Room(60 * GIB, (H100,)), 12, 8192, "f16", 81),
        (SEVENTY, Room(100 * GIB, (RTX4090, RTX4090)), 4, 8192, "f16", 64),  # not all of it fits: the rest on the host
    ],
)
def test_recorded_machines(shape: Shape, room: Room, parallel: int, context: int, kv_type: str, layers: int) -> None:
    layout = laid_out(shape, room)
    assert (layout.parallel, layout.context, layout.kv_type, layout.gpu_layers) == (parallel, context, kv_type, layers)
    assert layout.host_bytes + layout.cache_bytes + reserve(room.memory) <= room.memory
    assert len(layout.reasons) >= 5


def test_what_is_set_is_taken_and_the_rest_follows() -> None:
    room = Room(22 * GIB)
    both = laid_out(EIGHT, room, parallel=2, context=20_000)
    assert (both.parallel, both.context) == (2, 20_000)
    assert laid_out(EIGHT, room, parallel=16).context < laid_out(EIGHT, room, parallel=2).context
    assert laid_out(EIGHT, room, context=2048).parallel > laid_out(EIGHT, room, context=8192).parallel
    assert laid_out(EIGHT, room, kv_type="q8_0").parallel > laid_out(EIGHT, room).parallel
    assert laid_out(EIGHT, room, cache_mib=0).cache_bytes == 0
    assert laid_out(EIGHT, room, cache_mib=300).cache_bytes == 300 << 20
    assert laid_out(EIGHT, Room(60 * GIB), context=10**9).context == EIGHT.trained


@pytest.mark.parametrize(
    ("room", "set_to", "expected"),
    [
        (Room(22 * GIB), {}, "off"),
        (Room(22 * GIB), {"flash_attention": "on"}, "on"),
        (Room(22 * GIB), {"kv_type": "q8_0"}, "on"),
        (Room(60 * GIB, (H100,)), {}, "auto"),
        (Room(60 * GIB, (H100,)), {"flash_attention": "off"}, "off"),
        (Room(60 * GIB, (H100,)), {"gpu_layers": 0}, "off"),
    ],
)
def test_flash_attention(room: Room, set_to: dict[str, object], expected: str) -> None:
    assert laid_out(EIGHT, room, **set_to).flash_attention == expected


def test_f16_before_q8_0_as_long_as_enough_sequences_fit() -> None:
    """Memory by memory: q8_0 appears only where f16 would not have given the least number of sequences."""
    layouts = [laid_out(EIGHT, Room(mib << 20), context=8192) for mib in range(8000, 20_000, 250)]
    types = [layout.kv_type for layout in layouts]
    assert types == sorted(types, reverse=True)
    assert {"f16", "q8_0"} == set(types)
    first = layouts[types.index("f16")]
    assert first.parallel == LEAST_PARALLEL
    assert layouts[types.index("f16") - 1].parallel >= LEAST_PARALLEL
    odd = dataclasses.replace(EIGHT, quantisable=False)
    assert laid_out(odd, Room(int(7.2 * GIB))).kv_type == "f16"


@pytest.mark.parametrize(
    ("shape", "room", "set_to", "needed", "there"),
    [
        (EIGHT, Room(4 * GIB), {}, "5.5 GiB", "4.0 GiB"),
        (SEVENTY, Room(22 * GIB), {}, "41.6 GiB", "22.0 GiB"),
        (EIGHT, Room(22 * GIB), {"parallel": 64, "context": 32_768, "kv_type": "f16"}, "266.2 GiB", "22.0 GiB"),
        (EIGHT, Room(8 * GIB), {"cache_mib": 8192}, "13.6 GiB", "8.0 GiB"),
        (SMALL, Room(0), {}, "MiB", "0 MiB"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_numbers(
    shape: Shape, room: Room, set_to: dict[str, object], needed: str, there: str
) -> None:
    with pytest.raises(NoSpace, match="does not fit in memory") as refused:
        laid_out(shape, room, **set_to)
    assert needed in refused.value.what
    assert f"{there} are there" in refused.value.what
    assert refused.value.kept
    assert refused.value.then


def test_what_was_refused_fits_once_there_is_what_was_said_to_be_needed() -> None:
    for shape in (EIGHT, SEVENTY, SMALL):
        with pytest.raises(NoSpace) as refused:
            laid_out(shape, Room(100 << 20))
        amount, unit = refused.value.what.split(" it needs ")[1].split(" and ")[0].strip(", ").split()
        enough = float(amount) * (GIB if unit == "GiB" else 1 << 20) * 1.06  # the reserve grows with what is there
        assert laid_out(shape, Room(int(enough))).parallel >= 1


@pytest.mark.parametrize(
    ("shape", "set_to", "says"),
    [
        (EIGHT, {"kv_type": "q8_0", "flash_attention": "off"}, "needs flash attention"),
        (dataclasses.replace(EIGHT, quantisable=False), {"kv_type": "q8_0"}, "not multiples of 32"),
    ],
)
def test_settings_that_contradict_are_refused(shape: Shape, set_to: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        laid_out(shape, Room(22 * GIB), **set_to)


def header(**more: v.Value) -> Shape:
    data = good_gguf.file(good_gguf.header() | {key.replace("__", "."): value for key, value in more.items()})
    file = io.BytesIO(data)

    def read(offset: int, count: int) -> bytes:
        file.seek(offset)
        return file.read(count)

    return shape_of(read_header(read, len(data)))


def test_the_shape_follows_the_header() -> None:
    plain = header()
    assert plain.weights >= plain.blocks
    assert plain.width > 0
    longer = header(llama__attention__key_length=v.u32(96), llama__attention__value_length=v.u32(64))
    assert longer.width * good_gguf.WIDTH > plain.width
    assert longer.quantisable
    assert not header(llama__attention__key_length=v.u32(80), llama__attention__value_length=v.u32(80)).quantisable


def test_an_embedding_model_reads_as_long_texts_as_half_of_the_memory_bears() -> None:
    """Every text is read in one step, whose attention and logits grow with it."""
    found = [plan_vectors(EIGHT, Room(gib * GIB), SETTINGS).context for gib in (8, 16, 64)]
    assert found == sorted(found)
    assert found[0] < found[-1]
    assert found[-1] * EIGHT.vocabulary <= 1 << 28
    with pytest.raises(NoSpace, match="does not fit"):
        plan_vectors(EIGHT, Room(4 * GIB), SETTINGS)
    assert plan_vectors(EIGHT, Room(64 * GIB), dataclasses.replace(SETTINGS, context=1000)).context == 1000


def test_one_that_reads_in_pieces_needs_memory_for_a_step_and_the_rows_of_a_text() -> None:
    whole, pieces = (
        plan_vectors(dataclasses.replace(EIGHT, pieces=some), Room(32 * GIB), SETTINGS) for some in (False, True)
    )
    assert whole.context * EIGHT.vocabulary <= 1 << 28
    assert pieces.context == 8192
    assert pieces.host_bytes < whole.host_bytes
    assert pieces.kv_bytes == EIGHT.kv_bytes("f16", 8192 + SETTINGS.batch, 1)


@pytest.mark.parametrize(
    ("keys", "pieces"),
    [({}, False), ({"pooling_type": v.u32(3)}, True), ({"pooling_type": v.u32(1)}, False),
     ({"pooling_type": v.u32(3), "attention.causal": v.flag(False)}, False)],
)  # fmt: skip
def test_only_a_model_that_looks_back_and_gives_the_last_token_reads_in_pieces(
    keys: dict[str, v.Value], pieces: bool
) -> None:
    metadata = good_gguf.header() | {f"llama.{name}": value for name, value in keys.items()}
    data = good_gguf.file(metadata)
    header = read_header(lambda offset, count: data[offset : offset + count], len(data))
    assert shape_of(header).pieces == pieces
