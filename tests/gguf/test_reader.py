"""Sound headers are read as written; malformed ones are refused with a sentence, and nothing is allocated for them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumen_box.errors import Damaged, TooNew
from lumen_box.gguf import values as v
from lumen_box.gguf.limits import Limits
from lumen_box.gguf.model import Gguf
from lumen_box.gguf.reader import read_header, read_structure
from tests.support import bad_gguf, good_gguf


def reader(data: bytes) -> Callable[[int, int], bytes]:
    """A ``read`` that fails the test when it is asked for what the file does not have."""

    def read(offset: int, count: int) -> bytes:
        assert 0 <= offset <= offset + count <= len(data)
        return data[offset : offset + count]

    return read


def parse(data: bytes) -> Gguf:
    return read_header(reader(data), len(data))


@pytest.mark.parametrize("kind", good_gguf.KINDS)
def test_a_sound_header_is_read_as_it_was_written(kind: str) -> None:
    metadata = good_gguf.header(kind)
    gguf = parse(good_gguf.file(metadata))
    assert dict(gguf.metadata) == {
        key: value if value.type is not v.ValueType.F32 else gguf.metadata[key] for key, value in metadata.items()
    }
    assert [(t.name, t.shape, t.type.name) for t in gguf.tensors] == [
        ("token_embd.weight", (good_gguf.WIDTH, len(gguf.tokens)), "Q8_0"),
        ("output_norm.weight", (good_gguf.WIDTH,), "F32"),
    ]
    assert gguf.data_offset % gguf.alignment == 0
    assert 0 <= gguf.data_offset - gguf.header_size < gguf.alignment


@pytest.mark.parametrize("bad", bad_gguf.files(), ids=lambda bad: bad.name)
def test_a_malformed_header_is_refused(bad: bad_gguf.Bad) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(bad.error) as caught:
            parse(bad.data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(caught.value) is bad.error
    assert bad.words in str(caught.value)
    assert caught.value.then
    assert str(caught.value).isprintable()
    assert peak < 2**20 + 64 * len(bad.data)


def test_the_table_of_malformed_headers_is_long_and_without_repetition() -> None:
    names = [bad.name for bad in bad_gguf.files()]
    assert len(names) == len(set(names)) >= 120


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(header_bytes=1024), "header is larger"),
        (Limits(keys=3), "at most 3"),
        (Limits(tensors=1), "at most 1"),
        (Limits(elements=200), "200 in all"),
        (Limits(string_bytes=5), "at most 5"),
        (Limits(key_bytes=8), "at most 8"),
    ],
)
def test_every_cap_holds(limits: Limits, words: str) -> None:
    data = good_gguf.file(good_gguf.header())
    parse(data)
    with pytest.raises(Damaged, match=words):
        read_header(reader(data), len(data), limits)


def test_every_type_of_value_is_read() -> None:
    numbers = {kind: v.Value(kind, 1) for kind in v.FORMATS if kind is not v.ValueType.BOOL}
    metadata = good_gguf.header() | {f"test.{kind.name}": value for kind, value in numbers.items()}
    metadata |= {f"test.list.{kind.name}": v.array(kind, [0, 1, 1]) for kind in v.FORMATS}
    metadata |= {"test.yes": v.flag(True), "test.words": good_gguf.strings(["", "é", "a\0b"])}
    assert (
        dict(parse(good_gguf.file(metadata)).metadata).items()
        >= {key: value for key, value in metadata.items() if key.startswith("test.")}.items()
    )


@pytest.mark.parametrize("kind", v.BY_NAME.values(), ids=lambda kind: kind.name)
def test_every_tensor_type_is_read(kind: v.TensorType) -> None:
    parts = [good_gguf.tensor("a", (kind.block * 3, 5, 2), kind.name), good_gguf.tensor("b", (1,))]
    data = good_gguf.file(good_gguf.header(), parts)
    first, second = parse(data).tensors
    assert (first.type, first.size) == (kind, 30 * kind.size)
    assert second.offset == v.padded(first.size, 32)


@pytest.mark.parametrize("alignment", [8, 32, 64, 4096, 65536])
def test_other_alignments_are_read(alignment: int) -> None:
    data = good_gguf.file(good_gguf.header() | {v.ALIGNMENT_KEY: v.u32(alignment)})
    gguf = parse(data)
    assert gguf.alignment == alignment
    assert gguf.data_offset % alignment == 0


def test_version_2_is_read_like_version_3() -> None:
    data = bytearray(good_gguf.file(good_gguf.header()))
    data[4] = 2
    assert parse(bytes(data)).version == 2


def test_padding_after_the_last_tensor_may_be_missing() -> None:
    parts = [good_gguf.tensor("t", (3,))]
    padded = good_gguf.file(good_gguf.header(), parts)
    assert parse(padded).tensors == parse(padded[:-20]).tensors
    with pytest.raises(Damaged):
        parse(padded[:-21])


def test_a_model_without_vocabulary_is_read() -> None:
    metadata = {key: value for key, value in good_gguf.header().items() if not key.startswith("tokenizer.")}
    metadata |= {"tokenizer.ggml.model": v.text("none"), "llama.vocab_size": v.u32(7)}
    data = good_gguf.file(metadata, [good_gguf.tensor("token_embd.weight", (32, 7))])
    assert parse(data).tokens == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"tokenizer__ggml__padding_token_id": v.u32(2**32 - 1)},  # llama.cpp goes on without one
        {"llama__attention__head_count": good_gguf.numbers([4])},
        {"llama__attention__head_count_kv": v.u32(0)},
        {"llama__expert_count": v.u32(8), "llama__expert_used_count": v.u32(2)},
        {"llama__expert_count": v.u32(0), "llama__expert_used_count": v.u32(0)},
        {"llama__rope__scaling__type": v.text("yarn")},
        {"tokenizer__ggml__token_type": None},
        {"tokenizer__ggml__scores": None},
        {"general__type": v.text("model")},
        {"split__count": v.u16(0)},  # left behind by a merge
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_real_models_do_is_not_refused(changes: dict[str, v.Value | None]) -> None:
    parse(bad_gguf.changed(**changes))


def test_one_part_of_a_split_model_has_a_structure_but_is_no_model() -> None:
    data = good_gguf.file({"split.count": v.u16(2), "split.no": v.u16(1)}, [good_gguf.tensor("t", (32,))])
    assert read_structure(reader(data), len(data)).split_count == 2
    with pytest.raises(Damaged, match="merged first"):
        parse(data)


def test_a_file_shorter_than_promised_is_refused() -> None:
    data = good_gguf.file(good_gguf.header())
    with pytest.raises(Damaged, match="were promised"):
        read_header(lambda offset, count: data[:50][offset : offset + count], len(data))


HEADERS = [good_gguf.file(good_gguf.header(kind)) for kind in good_gguf.KINDS]


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(HEADERS),
    st.lists(
        st.tuples(st.integers(0, 2**20), st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255)), max_size=6
    ),
    st.none() | st.integers(0, 2**20),
)
def test_a_header_with_flipped_bytes_is_read_or_refused(
    sound: bytes, flips: list[tuple[int, int]], cut: int | None
) -> None:
    data = bytearray(sound)
    for place, byte in flips:
        data[place % len(data)] = byte
    whole = bytes(data if cut is None else data[: cut % len(data)])
    try:
        parse(whole)
    except (Damaged, TooNew) as error:
        assert error.what and str(error).isprintable()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 4), st.integers(0, 4))
def test_noise_after_a_plausible_beginning_is_refused(noise: bytes, tensors: int, keys: int) -> None:
    data = bad_gguf.raw(counts=(tensors, keys))[:24] + noise
    with pytest.raises((Damaged, TooNew)):
        parse(data)
