"""The plaintext of one object in blocks of 1 MiB, decrypted by threads while llama.cpp copies the block before.

A block is decrypted once for as long as it is kept: the next one is begun when one is asked for, and the last ones are
still there when another tensor begins in the middle of them. All buffers are there from the start, are used again, and
are overwritten at the end: fresh memory costs more than decryption does, and so does every wake-up of a thread, which
is why blocks are not smaller.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from queue import SimpleQueue
from typing import Final

from ..errors import Damaged
from ..sealed.stream import CHUNK, HEADER, STORED_CHUNK, RandomAccess

BLOCK: Final = 1 << 20
MAX_THREADS: Final = 4
_CHUNKS: Final = BLOCK // CHUNK
_SPARE: Final = 3  # blocks that are kept beside those on their way


class Blocks:
    """Reads anywhere in the plaintext; one caller at a time.

    Args:
        fd: the ciphertext, open for reading; not owned.
        threads: how many blocks to decrypt at once; at least 1 and at most :data:`MAX_THREADS`.
    """

    def __init__(self, fd: int, access: RandomAccess, threads: int) -> None:
        self._fd, self._access, self._size = fd, access, access.plain_size
        self._ahead = max(1, min(threads, MAX_THREADS))
        self._free = [memoryview(bytearray(BLOCK)) for _ in range(self._ahead + _SPARE)]
        self._kept: OrderedDict[int, memoryview] = OrderedDict()  # the one that was asked for longest ago first
        self._outcome: dict[int, Exception | None] = {}
        self._work: SimpleQueue[tuple[int, memoryview] | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[int, Exception | None]] = SimpleQueue()
        names = [f"decrypt-{number}" for number in range(self._ahead)]
        self._threads = [threading.Thread(target=self._decrypt_all, name=name, daemon=True) for name in names]
        for thread in self._threads:
            thread.start()

    def copy(self, offset: int, out: memoryview) -> int:
        """Plaintext from ``offset``, which lies inside, up to the end of its block: the number of bytes copied.

        Raises:
            Damaged: the block is not what was encrypted.
            OSError: it cannot be read.
        """
        number, start = divmod(offset, BLOCK)
        self._begin(number)
        error = self._finished(number)
        if error is not None:
            raise error
        size = min(len(out), BLOCK - start, self._size - offset)
        out[:size] = self._kept[number][start : start + size]
        return size

    def close(self) -> None:
        """Ends the threads and overwrites every buffer. Harmless when done twice."""
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []
        for buffer in (*self._free, *self._kept.values()):
            buffer[:] = bytes(len(buffer))
        self._kept.clear()

    def _begin(self, number: int) -> None:
        """Has the block and those after it decrypted, where they are not yet."""
        for wanted in range(number, number + 1 + self._ahead):
            if wanted in self._kept:
                self._kept.move_to_end(wanted)
            elif wanted * BLOCK < self._size:
                self._kept[wanted] = self._free.pop() if self._free else self._oldest()
                self._work.put((wanted, self._kept[wanted]))

    def _oldest(self) -> memoryview:
        number, buffer = self._kept.popitem(last=False)
        self._finished(number)
        del self._outcome[number]
        return buffer

    def _finished(self, number: int) -> Exception | None:
        """Waits until the block is decrypted; what went wrong, if anything did."""
        while number not in self._outcome:
            finished, error = self._done.get()
            self._outcome[finished] = error
        return self._outcome[number]

    def _decrypt_all(self) -> None:
        """A thread. What goes wrong with a block is for whoever asks for that block, not for another one."""
        stored = memoryview(bytearray(_CHUNKS * STORED_CHUNK))
        while (job := self._work.get()) is not None:
            number, buffer = job
            try:
                self._decrypt(number, stored, buffer)
                self._done.put((number, None))
            except Exception as error:
                self._done.put((number, error))

    def _decrypt(self, number: int, stored: memoryview, buffer: memoryview) -> None:
        """One block. At the stream's end the last chunk may hold nothing but its tag."""
        first, size = number * _CHUNKS, min(BLOCK, self._size - number * BLOCK)
        chunks = -(-size // CHUNK)
        wanted = stored[: size + chunks * (STORED_CHUNK - CHUNK)]
        got = os.preadv(self._fd, [wanted], HEADER + first * STORED_CHUNK)
        if self._access.decrypt(first, wanted[:got], buffer[:size]) != size:
            raise Damaged("The stored weights were cut short while they were being read.")
