"""The decrypting ``FILE *`` gives exactly the bytes that were encrypted, or an error; and lets go of the file."""

from __future__ import annotations

import ctypes
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lumen_box.engine.llama import Model
from lumen_box.engine.weights import BLOCK, EncryptedWeights
from lumen_box.errors import Damaged, LumenError, WrongKey
from lumen_box.sealed.stream import CHUNK, HEADER, STORED_CHUNK
from tests.engine.support import KEY, OBJECT_ID, encrypt

SIZES = [1, CHUNK - 1, CHUNK, CHUNK + 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5 * CHUNK + 7]


def libc() -> ctypes.CDLL:
    c = ctypes.CDLL(None)
    c.fread.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p]
    c.fread.restype = ctypes.c_size_t
    c.fseeko.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int]
    c.ftello.argtypes, c.ftello.restype = [ctypes.c_void_p], ctypes.c_int64
    c.ferror.argtypes = c.feof.argtypes = [ctypes.c_void_p]
    return c


@contextmanager
def opened(stored: Path, key: bytes = KEY, size: int | None = None) -> Iterator[EncryptedWeights]:
    fd = os.open(stored, os.O_RDONLY)
    weights = EncryptedWeights(fd, key, OBJECT_ID, stored.stat().st_size if size is None else size)
    try:
        yield weights
    finally:
        weights.close()


@pytest.fixture(params=SIZES)
def plain(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "plain"
    path.write_bytes(random.Random(request.param).randbytes(request.param))
    return path


def reads(size: int) -> list[tuple[int, int]]:
    """(offset, length): the edges of chunks and blocks, everything, and some at random."""
    rng = random.Random(size)
    edges = sorted({0, size, *(e + d for e in (CHUNK, BLOCK, 2 * BLOCK) for d in (-1, 0, 1))})
    inside = [edge for edge in edges if 0 <= edge <= size]
    pairs = [(start, end - start) for start in inside for end in inside if start <= end]
    return pairs + [(start, rng.randint(0, size - start)) for start in (rng.randint(0, size) for _ in range(40))]


def test_reads_at_any_place_give_the_plaintext(plain: Path) -> None:
    expected = plain.read_bytes()
    with opened(encrypt(plain)) as weights:
        assert weights.size == len(expected)
        for offset, length in reads(weights.size):
            assert weights.read(offset, length) == expected[offset : offset + length], (offset, length)


def test_the_file_reads_and_seeks_as_the_plain_one(plain: Path) -> None:
    c, expected = libc(), plain.read_bytes()
    with opened(encrypt(plain)) as weights, weights.file() as file:
        c.fseeko(file, 0, os.SEEK_END)
        assert c.ftello(file) == len(expected)
        for offset, length in reads(weights.size):
            buffer = ctypes.create_string_buffer(length + 1)
            assert c.fseeko(file, offset, os.SEEK_SET) == 0
            assert c.fread(buffer, 1, length, file) == length
            assert c.ftello(file) == offset + length
            assert buffer.raw[:length] == expected[offset : offset + length], (offset, length)
        buffer = ctypes.create_string_buffer(10)
        c.fseeko(file, 0, os.SEEK_END)
        assert c.fread(buffer, 1, 10, file) == 0
        assert c.feof(file)
        assert c.fseeko(file, -1, os.SEEK_SET) == -1


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_one_flipped_bit_is_an_error_and_no_data(tmp_path: Path, place: float) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(os.urandom(2 * BLOCK + 100))
    stored = encrypt(plain)
    raw = bytearray(stored.read_bytes())
    at = HEADER + int(place * (len(raw) - HEADER - 1))
    raw[at] ^= 1
    stored.write_bytes(raw)
    chunk = (at - HEADER) // STORED_CHUNK
    c = libc()
    with opened(stored) as weights:
        with pytest.raises(Damaged, match=f"Chunk {chunk} "):
            weights.read(chunk * CHUNK, 10)
        buffer = ctypes.create_string_buffer(10)
        with pytest.raises(Damaged), weights.file() as file:
            c.fseeko(file, chunk * CHUNK, os.SEEK_SET)
            assert c.fread(buffer, 1, 10, file) == 0
            assert c.ferror(file)
        assert buffer.raw == bytes(10)


def test_the_wrong_key_and_the_wrong_size_are_noticed_before_anything_is_read(stored: Path, tmp_path: Path) -> None:
    with pytest.raises(WrongKey), opened(stored, key=bytes(32)):
        pass
    size = stored.stat().st_size
    for wrong in (0, size - 1, size + 1, 2**63):
        with pytest.raises(Damaged), opened(stored, size=wrong):
            pass
    short = tmp_path / "short"
    short.write_bytes(stored.read_bytes()[:40])
    with pytest.raises(Damaged), opened(short):
        pass


def test_the_descriptor_is_closed_whatever_happens(stored: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with opened(stored) as weights:
        weights.read(0, 10)
    weights.close()
    with pytest.raises(WrongKey), opened(stored, key=bytes(32)):
        pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_cut_while_it_is_read_is_damaged(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(os.urandom(2 * BLOCK))
    stored = encrypt(plain)
    with opened(stored) as weights:
        os.truncate(stored, BLOCK)
        with pytest.raises(LumenError):
            weights.read(BLOCK, BLOCK)


def test_llama_cpp_reports_what_the_decryption_found(stored: Path, tmp_path: Path) -> None:
    """A chunk in the middle of the weights is damaged: the sentence is ours, not "unexpectedly reached end of file"."""
    raw = bytearray(stored.read_bytes())
    raw[-100] ^= 1
    bad = tmp_path / "bad"
    bad.write_bytes(raw)
    with opened(bad) as weights, pytest.raises(Damaged, match="Chunk"), weights.file() as file:
        Model(file, gpu_layers=0, progress=lambda done: None)
