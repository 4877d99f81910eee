"""Blocks decrypted ahead: the right bytes in whatever order, faults where they are, nothing left in memory."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lumen_box.engine.blocks import BLOCK, MAX_THREADS, Blocks
from lumen_box.errors import Damaged
from lumen_box.sealed.stream import CHUNK, HEADER, STORED_CHUNK, RandomAccess, object_context
from tests.engine.support import KEY, OBJECT_ID, encrypt

SIZE = 12 * BLOCK + 5 * CHUNK + 7


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("blocks") / "plain"
    path.write_bytes(random.Random(0).randbytes(SIZE))
    encrypt(path)
    return path


@contextmanager
def opened(stored: Path, threads: int = 2) -> Iterator[Blocks]:
    fd = os.open(stored, os.O_RDONLY)
    access = RandomAccess(KEY, object_context(OBJECT_ID), os.pread(fd, HEADER, 0), stored.stat().st_size)
    blocks = Blocks(fd, access, threads)
    try:
        yield blocks
    finally:
        blocks.close()
        os.close(fd)


def decrypting() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("decrypt-")]


@pytest.mark.parametrize("threads", [0, 1, 2, 100])
def test_every_order_of_reading_gives_the_plaintext(plain: Path, threads: int) -> None:
    expected, rng = plain.read_bytes(), random.Random(threads)
    onwards = range(0, SIZE, BLOCK // 2)
    with opened(plain.with_suffix(".object"), threads) as blocks:
        assert len(decrypting()) == max(1, min(threads, MAX_THREADS))
        for offset in [*onwards, *reversed(onwards), *(rng.randrange(SIZE) for _ in range(60))]:
            out = bytearray(rng.choice([1, CHUNK, BLOCK, 3 * BLOCK]))
            copied = blocks.copy(offset, memoryview(out))
            assert 0 < copied <= len(out)
            assert out[:copied] == expected[offset : offset + copied], offset
            assert (offset + copied) % BLOCK == 0 or copied == len(out) or offset + copied == SIZE
    assert decrypting() == []


def test_damage_is_reported_where_it_is_and_nowhere_else(plain: Path, tmp_path: Path) -> None:
    """The damaged block is decrypted ahead of time, and must not spoil the reading of the one before it."""
    expected, raw = plain.read_bytes(), bytearray(plain.with_suffix(".object").read_bytes())
    raw[HEADER + 3 * (BLOCK // CHUNK) * STORED_CHUNK + 5] ^= 1
    bad = tmp_path / "bad"
    bad.write_bytes(raw)
    out = bytearray(100)
    with opened(bad) as blocks:
        for number in (2, 3, 4, 2, 3, 11, 3):
            if number == 3:
                with pytest.raises(Damaged, match=f"Chunk {3 * BLOCK // CHUNK} "):
                    blocks.copy(number * BLOCK, memoryview(out))
            else:
                blocks.copy(number * BLOCK, memoryview(out))
                assert out == expected[number * BLOCK : number * BLOCK + 100]


def test_no_plaintext_is_left_in_the_buffers(plain: Path) -> None:
    with opened(plain.with_suffix(".object")) as blocks:
        for offset in range(0, SIZE, BLOCK):
            blocks.copy(offset, memoryview(bytearray(1)))
        buffers = [*blocks._kept.values(), *blocks._free]
        assert len(buffers) < SIZE // BLOCK, "or the whole model would be in memory twice"
        assert all(any(buffer) for buffer in buffers)
        blocks.close()
        assert not any(any(buffer) for buffer in buffers)
