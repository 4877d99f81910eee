"""Where a Unix socket lies, in few enough bytes.

The kernel takes 107 bytes of path. A home may lie deeper than that, so a long path is reached through the folder's
descriptor: ``/proc/self/fd/N/name``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

LONGEST_PATH = 100  # bytes; the kernel's own limit is 107


@contextlib.contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """An address for ``bind`` or ``connect`` that holds while the block runs; ``OSError`` if the folder is missing."""
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
