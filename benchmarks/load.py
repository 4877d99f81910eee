"""Loading an encrypted model against the same model in the clear: ``python -m benchmarks.load``.

Both go through the worker's own loader, each in a process of its own, with llama.cpp's load mode NONE and both files in
the page cache. The only difference is the ``FILE *`` that llama.cpp reads from: the decrypting one, or the C library's.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from unittest import mock

from lumen_box.config import EngineSettings

from . import material
from .harness import Aim, Side, compare, heading, python

ROUNDS: Final = 11
SETTINGS: Final = EngineSettings(parallel=1, context=512, gpu_layers=0)


class ClearWeights:
    """Takes the place of ``EncryptedWeights`` and reads the descriptor as it is."""

    def __init__(self, fd: int, _key: bytes, _object_id: bytes, stored_size: int, *, threads: int) -> None:
        self._fd, self.size = fd, stored_size

    @contextlib.contextmanager
    def file(self) -> Iterator[ctypes.c_void_p]:
        libc = ctypes.CDLL(None)
        libc.fdopen.restype = ctypes.c_void_p
        file = ctypes.c_void_p(libc.fdopen(os.dup(self._fd), b"rb"))
        try:
            yield file
        finally:
            libc.fclose(file)

    def close(self) -> None:
        os.close(self._fd)


def main() -> None:
    material.environment()
    sides = [
        Side("encrypted", python("-m", "benchmarks.load", "encrypted", str(material.encrypted())), reports=True),
        Side("clear", python("-m", "benchmarks.load", "clear", str(material.model())), reports=True),
    ]
    heading()
    aims = [Aim(most=1.15), Aim("resident", "MB", most=1.05), Aim("processor", "s")]
    compare("Encrypted load against the same model in the clear", sides, aims, rounds=ROUNDS)


def one_side(how: str, path: Path) -> None:
    """Loads once, and prints the seconds of the load alone, the processor's among them, and the highest resident size
    of the process in MB."""
    material.environment()
    from lumen_box.engine import loading
    from lumen_box.engine.protocol import Load

    request = Load(material.OBJECT_ID.hex(), path.stat().st_size, SETTINGS)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    clear = mock.patch.object(loading, "EncryptedWeights", ClearWeights)
    with clear if how == "clear" else contextlib.nullcontext():
        wall, processor = time.perf_counter(), time.process_time()
        loading.load(fd, material.KEY, request, lambda percent: None)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(json.dumps({"seconds": wall, "processor": processor, "resident": _peak() / 1e6}))


def _peak() -> int:
    """The highest resident size of this process so far, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    one_side(sys.argv[1], Path(sys.argv[2])) if sys.argv[1:] else main()
