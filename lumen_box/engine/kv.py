"""The KV cache by slots: copies of one sequence's state in host memory, removal of a tail, and wiping.

KV state is as secret as the text it was computed from. So copies live in anonymous memory that no core dump includes,
and are overwritten before it is given back; a slot is overwritten with zeros when what it held is not wanted any more.

llama.cpp has no call for that. But a restore of one sequence that ends too early makes it zero exactly the cells that
were to be restored, so :meth:`Cells.wipe` begins a restore of as many cells as the slot ever used and gives it no
data. That is done only where the layout of a real state was read and agreed to the last byte; the caches of other
models (recurrent, sliding window, several positions a token) are zeroed as a whole, as soon as nothing else is in
them: see :meth:`Cells.scrub`.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from typing import Any, Final

import llama_cpp.llama_cpp as lib
import numpy as np

_HEAD: Final = struct.Struct("<IiI")  # magic, sequence, streams
_CELL: Final = np.dtype([("position", "<i4"), ("sequences", "<u4"), ("sequence", "<i4")])
_BLOCK: Final = struct.Struct("<II")  # whether V is transposed, layers
_ROWS: Final = struct.Struct("<iQ")  # type, bytes of a row
_COLUMNS: Final = struct.Struct("<iII")  # type, bytes of an element, elements of a row
_MAGIC: Final = 0xAF143CD8
_BYTES: Final = ctypes.POINTER(ctypes.c_uint8)


class Blob:
    """One sequence's state in host memory; zeroed by :meth:`close`.

    Raises:
        OSError: there is no memory for it.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
        self._memory.madvise(mmap.MADV_DONTDUMP)
        self._first: ctypes.c_char | None = ctypes.c_char.from_buffer(self._memory)

    @property
    def pointer(self) -> Any:
        return ctypes.cast(self.address, _BYTES)

    @property
    def address(self) -> int:
        if self._first is None:
            raise ValueError("this copy was wiped")
        return ctypes.addressof(self._first)

    def close(self) -> None:
        if self._first is not None:
            ctypes.memset(self.address, 0, self.size)
            self._first = None
            self._memory.close()


class Cells:
    """The slots of one llama.cpp context.

    Args:
        handle: the context.
        model: its model.
        slots: how many there are.
    """

    def __init__(self, handle: Any, model: Any, slots: int) -> None:
        self._handle, self._memory = handle, lib.llama_get_memory(handle)
        self._window = int(lib.llama_model_n_swa(model))
        self._high = [0] * slots  # cells of each slot that may hold something
        self._plain: bool | None = None  # whether the layout is the one that can be wiped; None: not known yet
        # A recurrent state is that of all its tokens or of none.
        self.whole_only = bool(lib.llama_model_is_recurrent(model) or lib.llama_model_is_hybrid(model))
        self.dirty = False

    @property
    def present(self) -> bool:
        """Whether this context has a cache at all: a model that only reads has none."""
        return bool(self._memory)

    def written(self, slot: int, end: int) -> None:
        """Positions up to ``end`` of a slot are about to be computed."""
        self._high[slot] = max(self._high[slot], end)

    def size(self, slot: int) -> int:
        """Bytes of the slot's state."""
        return int(lib.llama_state_seq_get_size(self._handle, slot))

    def save(self, slot: int) -> Blob | None:
        """A copy of the slot's state; None where llama.cpp or the machine's memory refuses."""
        size = self.size(slot)
        if not size:
            return None
        try:
            blob = Blob(size)
        except OSError:
            return None
        if lib.llama_state_seq_get_data(self._handle, blob.pointer, size, slot) == size:
            return blob
        blob.close()
        return None

    def restore(self, slot: int, blob: Blob, tokens: int) -> bool:
        """Puts the state of a sequence of ``tokens`` into an empty slot; where that fails the slot is empty again."""
        self.written(slot, tokens)
        restored = lib.llama_state_seq_set_data(self._handle, blob.pointer, blob.size, slot) == blob.size
        if not restored or lib.llama_memory_seq_pos_max(self._memory, slot) != tokens - 1:
            self.wipe(slot)
            return False
        return True

    def truncate(self, slot: int, keep: int, held: int) -> bool:
        """Leaves the first ``keep`` of the ``held`` tokens. False where llama.cpp cannot: then use nothing of them."""
        if keep == held:
            return True
        if self.whole_only or not lib.llama_memory_seq_rm(self._memory, slot, keep, -1):
            self.whole_only = True
            return False
        # With a sliding window the cache may have lost what the next token must look back on.
        return bool(lib.llama_memory_seq_pos_min(self._memory, slot) <= max(0, keep - self._window))

    def wipe(self, slot: int) -> None:
        """Empties a slot, and overwrites what it held."""
        if self._plain is None and self._high[slot]:
            self._plain = self._look(slot)
        if self._plain and self._high[slot]:
            self._overwrite(slot)
        elif self._high[slot]:
            self.dirty = True
        lib.llama_memory_seq_rm(self._memory, slot, -1, -1)
        self._high[slot] = 0

    def scrub(self) -> None:
        """Overwrites the whole cache. Only when nothing in it is wanted."""
        lib.llama_memory_clear(self._memory, True)
        self.dirty = False

    def _overwrite(self, slot: int) -> None:
        count = self._high[slot]
        cells = np.zeros(count, _CELL)
        cells["position"], cells["sequences"] = np.arange(count), 1
        streams = len(self._high)
        counts = np.zeros(streams, "<u4")
        counts[0] = count
        frame = _HEAD.pack(_MAGIC, slot, streams) + counts.tobytes()[:4] + cells.tobytes()
        lib.llama_state_seq_set_data(self._handle, ctypes.cast(ctypes.c_char_p(frame), _BYTES), len(frame), slot)

    def _look(self, slot: int) -> bool | None:
        """Whether the state of the slot's first token has the plain layout; None where the slot has none."""
        if not lib.llama_memory_seq_rm(self._memory, slot, 1, -1):
            return False
        if lib.llama_memory_seq_pos_max(self._memory, slot) != 0 or (blob := self.save(slot)) is None:
            return None
        try:
            return is_plain(ctypes.string_at(blob.address, blob.size), len(self._high))
        finally:
            blob.close()


def is_plain(state: bytes, streams: int) -> bool:
    """Whether this is the state of one token in an ordinary KV cache of ``streams``, to the last byte."""
    try:
        return _after_one_token(state, streams) == len(state)
    except struct.error:
        return False


def _after_one_token(state: bytes, streams: int) -> int:
    """Where the state ends, or -1 where it is not what was expected."""
    magic, _, found = _HEAD.unpack_from(state)
    counts_at = _HEAD.size
    used: list[int] = []
    at = counts_at
    if (magic, found) != (_MAGIC, streams):
        return -1
    for _ in range(streams):
        (count,) = struct.unpack_from("<I", state, at)
        at += 4
        if count:
            used.append(count)
            at = _after_cells(state, at)
    return at if used == [1] else -1


def _after_cells(state: bytes, at: int) -> int:
    """Where one stream's single cell and its rows end."""
    position, sequences, _ = struct.unpack_from("<iIi", state, at)
    transposed, layers = _BLOCK.unpack_from(state, at + _CELL.itemsize)
    if (position, sequences) != (0, 1) or transposed > 1:
        raise struct.error("not a plain cell")
    at += _CELL.itemsize + _BLOCK.size
    for _ in range(layers):
        _, row = _ROWS.unpack_from(state, at)
        at += _ROWS.size + row
    for _ in range(layers):
        if transposed:
            _, element, count = _COLUMNS.unpack_from(state, at)
            at += _COLUMNS.size + element * count
        else:
            _, row = _ROWS.unpack_from(state, at)
            at += _ROWS.size + row
    return at
