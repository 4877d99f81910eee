"""Encrypted weights as a C ``FILE *``: decrypted on demand, a block ahead of llama.cpp.

glibc's ``fopencookie`` makes a stream from callbacks. glibc fills the buffer of such a stream and copies from there,
whatever llama.cpp asks for; and llama.cpp does not read tensors in file order, so every read may start anywhere. While
it copies, ``blocks`` decrypts what comes next. No plaintext reaches a file, a memfd or a pipe, and every buffer is
overwritten at the end. The descriptor is closed with the stream; what the callbacks cannot say through stdio is kept
in :attr:`EncryptedWeights.failure`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from typing import Any, Final

from ..errors import Damaged, LumenError
from ..sealed.stream import HEADER, RandomAccess, object_context
from .blocks import BLOCK, Blocks

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
        threads: how many cores there are; one of them is the reader's.

    Raises:
        WrongKey, Damaged: the stream does not fit the key or its length.
    """

    def __init__(self, fd: int, key: bytes, object_id: bytes, stored_size: int, *, threads: int = 2) -> None:
        self._fd = fd
        self.failure: LumenError | OSError | None = None
        try:
            if os.fstat(fd).st_size != stored_size or stored_size > MAX_STORED:
                raise Damaged("The stored weights do not have the size that they were installed with.")
            access = RandomAccess(key, object_context(object_id), os.pread(fd, HEADER, 0), stored_size)
        except BaseException:
            os.close(fd)
            raise
        self.size = access.plain_size
        self._blocks = Blocks(fd, access, threads - 1)
        self._position = 0

    def read(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset``, fewer at the end. ``Damaged`` if they are not what was encrypted."""
        out = bytearray(max(min(size, self.size - offset), 0))
        rest = memoryview(out)
        while rest:
            copied = self._blocks.copy(offset, rest)
            offset, rest = offset + copied, rest[copied:]
        return bytes(out)

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
        """Less than ``size`` at the end of a block: the next call goes on from there."""
        if self._position >= self.size:
            return 0
        try:
            copied = self._blocks.copy(self._position, _memory(address, size))
        except (LumenError, OSError) as error:
            self.failure = error
            return -1
        self._position += copied
        return copied

    def _on_seek(self, _cookie: int, offset: Any, whence: int) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}.get(whence)
        if base is None or base + offset[0] < 0:
            return -1
        self._position = offset[0] = base + offset[0]
        return 0

    def close(self) -> None:
        """Closes the descriptor and overwrites what was decrypted here. Harmless when done twice."""
        self._blocks.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


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
