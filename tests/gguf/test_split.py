"""A split model merges into the file it was cut from; an incomplete or mixed set is refused, naming the part."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lumen_box.errors import Damaged, LumenError, NotFound, PartMissing, UsageError
from lumen_box.gguf import values as v
from lumen_box.gguf.split import Model, merge_plan
from lumen_box.gguf.writer import NewTensor, write_gguf
from tests.support import bad_gguf, good_gguf
from tests.support.tiny_model import write_tiny_model

PARTS = 3


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "whole.gguf", merges=40)


def name(number: int, count: int = PARTS) -> str:
    return f"m-{number + 1:05}-of-{count:05}.gguf"


def cut(whole: Path, folder: Path, *, alignment: int = 32, total: int | None = None) -> list[Path]:
    """Cuts a model in three as llama.cpp's own tool does: all metadata in the first part, tensors in order."""
    raw = whole.read_bytes()
    with Model(whole) as model:
        gguf = model.gguf
    share = len(gguf.tensors) // PARTS + 1
    paths = []
    for number in range(PARTS):
        metadata = dict(gguf.metadata) if number == 0 else {}
        metadata |= {"split.no": v.u16(number), "split.count": v.u16(PARTS)}
        metadata["split.tensors.count"] = v.Value(v.ValueType.I32, len(gguf.tensors) if total is None else total)
        if number:
            metadata[v.ALIGNMENT_KEY] = v.u32(alignment)
        tensors = []
        for tensor in gguf.tensors[number * share : (number + 1) * share]:
            at = gguf.data_offset + tensor.offset
            tensors.append(NewTensor(tensor.name, tensor.shape, tensor.type, [raw[at : at + tensor.size]]))
        paths.append(folder / name(number))
        write_gguf(paths[-1], metadata, tensors)
    return paths


def content(path: Path) -> bytes:
    with Model(path) as model:
        data = b"".join(model.stream())
        assert len(data) == model.size
        return data


def test_a_single_file_is_streamed_as_it_is(whole: Path) -> None:
    assert merge_plan(whole) == [whole]
    assert content(whole) == whole.read_bytes()


@pytest.mark.parametrize("alignment", [32, 256])
@pytest.mark.parametrize("given", range(PARTS))
def test_any_part_leads_to_the_whole_model(whole: Path, tmp_path: Path, alignment: int, given: int) -> None:
    parts = cut(whole, tmp_path, alignment=alignment)
    assert merge_plan(parts[given]) == parts
    assert content(parts[given]) == whole.read_bytes()


def test_it_can_be_streamed_twice(whole: Path, tmp_path: Path) -> None:
    parts = cut(whole, tmp_path)
    with Model(parts[0]) as model:
        assert b"".join(model.stream()) == b"".join(model.stream())


def test_a_first_part_without_tensors_is_merged(tmp_path: Path) -> None:
    metadata = good_gguf.header()
    tensors = good_gguf.tensors(metadata)
    split = {"split.count": v.u16(2), "split.tensors.count": v.Value(v.ValueType.I32, 2)}
    write_gguf(tmp_path / name(0, 2), metadata | split | {"split.no": v.u16(0)}, [])
    write_gguf(tmp_path / name(1, 2), split | {"split.no": v.u16(1)}, tensors)
    assert content(tmp_path / name(0, 2)) == good_gguf.file(metadata)


@pytest.mark.parametrize("missing", range(PARTS))
def test_a_missing_part_is_named(whole: Path, tmp_path: Path, missing: int) -> None:
    parts = cut(whole, tmp_path)
    parts[missing].unlink()
    with pytest.raises(PartMissing, match=name(missing)):
        Model(parts[(missing + 1) % PARTS])


def _rename(parts: list[Path]) -> None:
    parts[0].rename(parts[0].with_name("renamed.gguf"))
    parts[0] = parts[0].with_name("renamed.gguf")


def _swap(parts: list[Path]) -> None:
    aside = parts[1].with_suffix(".aside")
    parts[1].rename(aside)
    parts[2].rename(parts[1])
    aside.rename(parts[2])


def _repeat(parts: list[Path]) -> None:
    parts[2].write_bytes(parts[1].read_bytes())


def _shorten(parts: list[Path]) -> None:
    parts[2].write_bytes(parts[2].read_bytes()[:-64])


def _empty(parts: list[Path]) -> None:
    parts[1].write_bytes(b"")


def _lengthen(parts: list[Path]) -> None:
    parts[1].write_bytes(parts[1].read_bytes() + bytes(64))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_rename, "does not say which"),
        (_swap, "says that it is another one"),
        (_repeat, "says that it is another one"),
        (_shorten, "its tensors need"),
        (_empty, "ends inside its header"),
        (_lengthen, "follow its last tensor"),
    ],
    ids=lambda item: getattr(item, "__name__", ""),
)
def test_a_harmed_set_is_refused(whole: Path, tmp_path: Path, harm: object, words: str) -> None:
    parts = cut(whole, tmp_path)
    assert callable(harm)
    harm(parts)
    with pytest.raises(Damaged, match=words):
        Model(parts[0])


def test_a_part_with_too_few_tensors_is_refused(whole: Path, tmp_path: Path) -> None:
    parts = cut(whole, tmp_path, total=99)
    with pytest.raises(Damaged, match="99 are due"):
        Model(parts[0])


def test_a_tensor_in_two_parts_is_refused(tmp_path: Path) -> None:
    metadata = good_gguf.header()
    split = {"split.count": v.u16(2), "split.tensors.count": v.Value(v.ValueType.I32, 2)}
    for number in range(2):
        keys = (metadata if number == 0 else {}) | split | {"split.no": v.u16(number)}
        write_gguf(tmp_path / name(number, 2), keys, [good_gguf.tensor("t", (32,))])
    with pytest.raises(Damaged, match="is in two parts"):
        Model(tmp_path / name(0, 2))


def test_the_merged_model_is_checked_as_a_whole(tmp_path: Path) -> None:
    metadata = good_gguf.header() | {"llama.rope.dimension_count": v.u32(7)}
    split = {"split.count": v.u16(2), "split.tensors.count": v.Value(v.ValueType.I32, 2)}
    write_gguf(tmp_path / name(0, 2), metadata | split | {"split.no": v.u16(0)}, [])
    write_gguf(tmp_path / name(1, 2), split | {"split.no": v.u16(1)}, good_gguf.tensors(metadata))
    with pytest.raises(Damaged, match="turns 7"):
        Model(tmp_path / name(0, 2))


def test_a_file_that_shrinks_while_it_is_read_is_refused(whole: Path) -> None:
    with Model(whole) as model, pytest.raises(Damaged, match="became shorter"):
        os.truncate(whole, 5000)
        for _ in model.stream():
            pass


@pytest.mark.parametrize("bad", bad_gguf.files()[::10], ids=lambda bad: bad.name)
def test_malformed_files_are_refused_from_disk_too(tmp_path: Path, bad: bad_gguf.Bad) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(bad.data)
    with pytest.raises(LumenError) as caught:
        Model(path)
    assert caught.value.exit_code in (22, 25)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.gguf")
    for path, error in (
        (tmp_path / "none.gguf", NotFound),
        (tmp_path / "fifo.gguf", UsageError),
        (tmp_path, UsageError),
        (Path(os.devnull), UsageError),
    ):
        with pytest.raises(error):
            Model(path)


def test_no_file_stays_open(whole: Path, tmp_path: Path) -> None:
    parts = cut(whole, tmp_path)
    before = os.listdir("/proc/self/fd")
    with Model(parts[0]):
        assert len(os.listdir("/proc/self/fd")) == len(before) + PARTS
    parts[2].write_bytes(b"GGUF")
    with pytest.raises(Damaged):
        Model(parts[0])
    assert os.listdir("/proc/self/fd") == before
