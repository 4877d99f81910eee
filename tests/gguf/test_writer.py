"""The writer announces what it writes, aligns it, and does not write a tensor of the wrong size."""

from __future__ import annotations

from pathlib import Path

import pytest

from lumen_box.gguf import values as v
from lumen_box.gguf.writer import NewTensor, file_size, stream_gguf, write_gguf
from tests.support import good_gguf


def test_the_stream_is_as_long_as_announced() -> None:
    metadata = good_gguf.header()
    tensors = good_gguf.tensors(metadata)
    assert len(b"".join(stream_gguf(metadata, tensors))) == file_size(metadata, tensors)


@pytest.mark.parametrize("length", [0, 127, 129])
def test_a_tensor_of_the_wrong_size_stops_the_writing(length: int) -> None:
    tensor = NewTensor("t", (32,), v.BY_NAME["F32"], [bytes(length)])
    with pytest.raises(ValueError, match="128 are due"):
        list(stream_gguf({}, [tensor]))


def test_a_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path, {}, [])
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write_gguf(path, {}, [])


def test_tensors_begin_at_multiples_of_the_alignment() -> None:
    metadata = {v.ALIGNMENT_KEY: v.u32(64)}
    tensors = [NewTensor(name, (3,), v.BY_NAME["F32"], [name.encode() * 12]) for name in "ab"]
    data = b"".join(stream_gguf(metadata, tensors))
    assert data.index(b"a" * 12) % 64 == data.index(b"b" * 12) % 64 == 0
