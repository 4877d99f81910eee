"""Every cap on TUF metadata, in one place; a file beyond one of them is refused before it is parsed.

A public key is 3,968 hexadecimal digits and a signature 6,746, so the caps on bytes follow from the caps on counts.
"""

from __future__ import annotations

MAX_ROOTS = 1024  # root versions in one chain, counted from the pinned one
MAX_KEYS = 16  # keys of one role
MAX_SIGNATURES = 32  # a root may carry those of two key sets
MAX_TARGETS = 8192  # targets of one role
MAX_VERSION = 2**31 - 1
MAX_TARGET_BYTES = 8 << 20  # a manifest, or the list of revocations
MAX_REVOCATIONS = 8192  # of one kind
MAX_REVOCATIONS_BYTES = 4 << 20
MAX_FLOORS_BYTES = 4 << 20
MAX_RELEASE = 2**31 - 1
MAX_NAME = 64  # characters of the name or the version of a target
MAX_PUBLISHER = 128  # characters of a publisher's name
MAX_REASON = 200  # characters of the reason of a revocation

MAX_BYTES = {
    "root": 512 << 10,
    "timestamp": 128 << 10,
    "snapshot": 128 << 10,
    "targets": 512 << 10,
    "models": 4 << 20,
    "software": 4 << 20,
}
