"""Encrypted objects: the format, its every boundary, and what happens to a stream that was touched."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor
from hypothesis import given, settings
from hypothesis import strategies as st

from lumen_box.errors import Damaged, WrongKey
from lumen_box.sealed import stream
from lumen_box.sealed.stream import CHUNK, HEADER, STORED_CHUNK, Encryptor, RandomAccess
from tests.support import vectors
from tests.vectors.make import encrypt_stream, pattern

KEY = bytes(range(32))
CONTEXT = stream.object_context(b"o" * 16)
PLAIN = pattern(3 * CHUNK + 100)
EDGES = sorted({size for chunks in (0, 1, 2, 3) for size in range(chunks * CHUNK - 2, chunks * CHUNK + 3) if size >= 0})


def encrypt(plain: bytes, key: bytes = KEY, context: bytes = CONTEXT) -> bytes:
    encryptor = Encryptor(key, context)
    return encryptor.update(plain) + encryptor.finish()


def read(stored: bytes, key: bytes = KEY, context: bytes = CONTEXT) -> bytes:
    reader = RandomAccess(key, context, stored[:HEADER], len(stored))
    out = bytearray(reader.plain_size)
    assert reader.decrypt(0, memoryview(stored)[HEADER:], memoryview(out)) == len(out)
    return bytes(out)


@pytest.mark.parametrize("size", EDGES)
def test_every_boundary_agrees_with_cobblestone_and_with_the_sizes(size: int) -> None:
    stored = encrypt(PLAIN[:size])
    assert len(stored) == stream.stored_size(size)
    assert stream.plain_size(len(stored)) == size
    decryptor = Cobblestone256Decryptor(KEY, CONTEXT)
    assert read(stored) == decryptor.update(stored) + decryptor.finalize() == PLAIN[:size]


@settings(max_examples=40, deadline=None)
@given(size=st.one_of(st.sampled_from(EDGES), st.integers(0, len(PLAIN))), data=st.data())
def test_any_run_of_chunks_reads_the_same_as_the_whole(size: int, data: st.DataObject) -> None:
    stored = encrypt(PLAIN[:size])
    reader = RandomAccess(KEY, CONTEXT, stored[:HEADER], len(stored))
    first = data.draw(st.integers(0, size // CHUNK))
    count = data.draw(st.integers(1, size // CHUNK + 1 - first))
    run = stored[HEADER + first * STORED_CHUNK :][: count * STORED_CHUNK]
    out = bytearray(count * CHUNK)
    written = reader.decrypt(first, memoryview(run), memoryview(out))
    assert out[:written] == PLAIN[:size][first * CHUNK :][: count * CHUNK]


@given(cuts=st.lists(st.integers(0, len(PLAIN)), max_size=6))
@settings(max_examples=30, deadline=None)
def test_the_pieces_fed_to_the_encryptor_do_not_matter(cuts: list[int]) -> None:
    encryptor = Encryptor(KEY, CONTEXT)
    edges = [0, *sorted(cuts), len(PLAIN)]
    pieces = [encryptor.update(memoryview(PLAIN)[a:b]) for a, b in itertools.pairwise(edges)]
    assert read(b"".join(pieces) + encryptor.finish()) == PLAIN


def test_vectors() -> None:
    given_ = vectors.load("stream")
    key, context = bytes.fromhex(given_["key"]), bytes.fromhex(given_["context"])
    assert context == stream.object_context(bytes(range(16)))
    for case in given_["cases"]:
        plain = pattern(case["plain_size"])
        stored = encrypt_stream(key, bytes.fromhex(given_["salt"]), context, plain)
        assert hashlib.sha256(stored).hexdigest() == case["stored_sha256"]
        assert stored[:HEADER].hex() == case["header"] and len(stored) == case["stored_size"]
        assert read(stored, key, context) == plain


FLIPS: dict[str, Callable[[bytes], bytes]] = {
    "first byte of a chunk": lambda s: flip(s, HEADER),
    "a tag": lambda s: flip(s, HEADER + CHUNK),
    "the last byte": lambda s: flip(s, len(s) - 1),
    "two chunks swapped": lambda s: (
        s[:HEADER]
        + s[HEADER + STORED_CHUNK : HEADER + 2 * STORED_CHUNK]
        + s[HEADER : HEADER + STORED_CHUNK]
        + s[HEADER + 2 * STORED_CHUNK :]
    ),
    "a chunk twice": lambda s: (
        s[: HEADER + STORED_CHUNK] + s[HEADER : HEADER + STORED_CHUNK] + s[HEADER + STORED_CHUNK :]
    ),
    "a chunk left out": lambda s: s[:HEADER] + s[HEADER + STORED_CHUNK :],
    "cut at a chunk's edge": lambda s: s[: HEADER + STORED_CHUNK],
    "cut within a chunk": lambda s: s[:-1],
    "cut to its header": lambda s: s[:HEADER],
    "cut within the header": lambda s: s[:10],
    "empty": lambda s: b"",
    "a byte more": lambda s: s + b"\0",
    "a chunk more": lambda s: s + bytes(STORED_CHUNK),
}


def flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("touch", FLIPS.values(), ids=FLIPS.keys())
def test_a_touched_stream_is_damaged(touch: Callable[[bytes], bytes]) -> None:
    stored = encrypt(PLAIN)
    assert read(stored) == PLAIN
    with pytest.raises(Damaged):
        read(touch(stored))


@pytest.mark.parametrize("place", [0, 23, 24, 55])
def test_a_touched_header_fits_no_key(place: int) -> None:
    with pytest.raises(WrongKey):
        read(flip(encrypt(PLAIN), place))


@pytest.mark.parametrize(
    ("key", "context"),
    [(bytes(32), CONTEXT), (KEY, stream.object_context(b"p" * 16)), (KEY, b""), (KEY[:31], CONTEXT), (b"", CONTEXT)],
)
def test_only_the_right_key_and_context_fit(key: bytes, context: bytes) -> None:
    stored = encrypt(PLAIN[:100])
    assert stream.fits(KEY, CONTEXT, stored[:HEADER])
    assert not stream.fits(key, context, stored[:HEADER])
    assert not stream.fits(KEY, CONTEXT, stored[: HEADER - 1])
    with pytest.raises(WrongKey):
        read(stored, key, context)


@pytest.mark.parametrize("size", [-1, 0, 55, 56, 71, HEADER + STORED_CHUNK, HEADER + STORED_CHUNK + 15, 2**63, 2**64])
def test_impossible_lengths(size: int) -> None:
    with pytest.raises(Damaged):
        stream.plain_size(size)


@pytest.mark.parametrize(("first", "size"), [(-1, 10), (0, 10), (1, STORED_CHUNK + 1), (3, STORED_CHUNK), (4, 16)])
def test_runs_that_the_stream_does_not_have(first: int, size: int) -> None:
    stored = encrypt(PLAIN)
    reader = RandomAccess(KEY, CONTEXT, stored[:HEADER], len(stored))
    with pytest.raises(Damaged):
        reader.decrypt(first, memoryview(bytes(size)), memoryview(bytearray(2 * CHUNK)))


@pytest.mark.parametrize("claimed", [100, CHUNK, 2 * CHUNK + 5, 3 * CHUNK + 99, 3 * CHUNK + 101, 5 * CHUNK])
def test_chunks_that_are_whole_do_not_make_up_for_a_wrong_length(claimed: int) -> None:
    stored = encrypt(PLAIN)
    reader = RandomAccess(KEY, CONTEXT, stored[:HEADER], stream.stored_size(claimed))
    last = memoryview(stored)[HEADER + 3 * STORED_CHUNK :]
    with pytest.raises(Damaged, match="length"):
        reader.decrypt(3, last, memoryview(bytearray(CHUNK)))


def test_threads_may_share_a_reader() -> None:
    stored = encrypt(PLAIN)
    reader = RandomAccess(KEY, CONTEXT, stored[:HEADER], len(stored))

    def chunk(index: int) -> bytes:
        out = bytearray(CHUNK)
        run = memoryview(stored)[HEADER + index * STORED_CHUNK :][:STORED_CHUNK]
        return bytes(out[: reader.decrypt(index, run, memoryview(out))])

    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            assert b"".join(pool.map(chunk, range(4))) == PLAIN
