"""Encrypted weights as a C ``FILE *``: decrypted on demand, straight into the memory that asked.

glibc's ``fopencookie`` makes a stream from callbacks. llama.cpp reads it in aligned blocks of the stdio buffer's size
and large runs of such blocks, and does not read tensors in file order, so every read may start anywhere. Whole chunks
are decrypted by several threads directly to where they are wanted; what is left over at the edges goes through one
block, which is overwritten at the end. No plaintext reaches a file, a memfd or a pipe. The descriptor is closed with
the stream; what the callbacks cannot say through stdio is kept in :attr:`EncryptedWeights.failure`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from ..errors import Damaged, LumenError
from ..sealed.stream import CHUNK, HEADER, STORED_CHUNK, RandomAccess, object_context

BLOCK: Final = 1 << 20  # the stdio buffer, and the block that serves small reads
PIECE: Final = 16  # chunks that one thread decrypts at a time: 256 KiB, so that both halves stay in its cache
MAX_STORED: Final = 1 << 42  # 4 TiB

_Read = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_Seek = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int64), ctypes.c_int)
_IOFBF: Final = 0
_PYBUF_WRITE: Final = 0x200


class _Callbacks(ctypes.Structure):
    """``cookie_io_functions_t``; writing and closing are left to the defaults."""

    _fields_ = (("read", _Read), ("write", ctypes.c_void_p), ("seek", _Seek), ("close", ctypes.c_void_p))


class EncryptedWeights:
    """Random-access plaintext of one object, from the descriptor of its ciphertext.

    Args:
        fd: open for reading; owned, and closed by :meth:`close`.
        key: the content key.
        object_id: 16 bytes.
        stored_size: what the catalogue says the ciphertext's size is; another size is ``Damaged``.

    Raises:
        WrongKey, Damaged: the stream does not fit the key or its length.
    """

    def __init__(self, fd: int, key: bytes, object_id: bytes, stored_size: int, *, threads: int = 2) -> None:
        self._fd = fd
        self.failure: LumenError | OSError | None = None
        try:
            if os.fstat(fd).st_size != stored_size or stored_size > MAX_STORED:
                raise Damaged("The stored weights do not have the size that they were installed with.")
            self._access = RandomAccess(key, object_context(object_id), os.pread(fd, HEADER, 0), stored_size)
        except BaseException:
            os.close(fd)
            raise
        self.size = self._access.plain_size
        self._pool = ThreadPoolExecutor(max(threads, 1), thread_name_prefix="decrypt")
        self._block = bytearray(BLOCK)
        self._block_start = -1
        self._position = 0

    def read(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset``, fewer at the end."""
        out = bytearray(max(min(size, self.size - offset), 0))
        self.read_into(offset, memoryview(out))
        return bytes(out)

    def read_into(self, offset: int, out: memoryview) -> None:
        """Fills ``out``, which must not reach beyond the end. ``Damaged`` if any of it is not what was encrypted."""
        end = offset + len(out)
        jobs = []
        while offset < end:
            size = min(end - offset, BLOCK - offset % BLOCK)
            target, out = out[:size], out[size:]
            whole = offset % CHUNK == 0 and (size % CHUNK == 0 or offset + size == self.size)
            if whole and size > CHUNK:
                jobs += [self._pool.submit(self._decrypt, at, piece) for at, piece in _pieces(offset, target)]
            else:
                self._copy(offset, target)
            offset += size
        for job in jobs:
            job.result()

    def _copy(self, offset: int, out: memoryview) -> None:
        """A small read, which does not cross a block: from the block that was decrypted last, if it is the same."""
        start = offset - offset % BLOCK
        if start != self._block_start:
            self._block_start = -1
            target = memoryview(self._block)[: min(BLOCK, self.size - start)]
            for job in [self._pool.submit(self._decrypt, at, piece) for at, piece in _pieces(start, target)]:
                job.result()
            self._block_start = start
        out[:] = memoryview(self._block)[offset - start : offset - start + len(out)]

    def _decrypt(self, offset: int, out: memoryview) -> None:
        """Whole chunks from ``offset`` on. At the stream's end the last chunk may hold nothing but its tag."""
        first, chunks = offset // CHUNK, -(-len(out) // CHUNK)
        stored = os.pread(self._fd, chunks * STORED_CHUNK, HEADER + first * STORED_CHUNK)
        whole = memoryview(stored)[: len(out) + chunks * (STORED_CHUNK - CHUNK)]
        if self._access.decrypt(first, whole, out) != len(out):
            raise Damaged("The stored weights were cut short while they were being read.")

    @contextlib.contextmanager
    def file(self) -> Iterator[ctypes.c_void_p]:
        """The plaintext as a ``FILE *`` for the block; an error of a callback is raised at its end."""
        libc = _libc()
        callbacks = _Callbacks(_Read(self._on_read), None, _Seek(self._on_seek), None)
        buffer = ctypes.create_string_buffer(BLOCK)
        stream = libc.fopencookie(None, b"rb", callbacks)
        if not stream:
            raise MemoryError("fopencookie")
        libc.setvbuf(stream, buffer, _IOFBF, BLOCK)
        try:
            yield ctypes.c_void_p(stream)
        except LumenError as error:
            raise self.failure or error from None
        finally:
            libc.fclose(stream)
            ctypes.memset(buffer, 0, BLOCK)
        if self.failure:
            raise self.failure

    def _on_read(self, _cookie: int, address: int, size: int) -> int:
        size = min(size, self.size - self._position)
        try:
            if size > 0:
                self.read_into(self._position, _memory(address, size))
        except (LumenError, OSError) as error:
            self.failure = error
            return -1
        self._position += max(size, 0)
        return max(size, 0)

    def _on_seek(self, _cookie: int, offset: Any, whence: int) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}.get(whence)
        if base is None or base + offset[0] < 0:
            return -1
        self._position = offset[0] = base + offset[0]
        return 0

    def close(self) -> None:
        """Closes the descriptor and overwrites what was decrypted here. Harmless when done twice."""
        self._pool.shutdown()
        self._block[:] = bytes(BLOCK)
        self._block_start = -1
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _pieces(offset: int, out: memoryview) -> Iterator[tuple[int, memoryview]]:
    step = PIECE * CHUNK
    for start in range(0, len(out), step):
        yield offset + start, out[start : start + step]


def _memory(address: int, size: int) -> memoryview:
    """Writable bytes at an address (a ctypes array's own view has a format that cannot be sliced into bytes)."""
    view = ctypes.pythonapi.PyMemoryView_FromMemory
    view.restype = ctypes.py_object
    view.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]
    return view(address, size, _PYBUF_WRITE)  # type: ignore[no-any-return]


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    libc.fopencookie.restype = ctypes.c_void_p
    libc.fopencookie.argtypes = [ctypes.c_void_p, ctypes.c_char_p, _Callbacks]
    libc.setvbuf.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    libc.fclose.argtypes = [ctypes.c_void_p]
    return libc
