"""Writes ``audit.json``: event lines, leaf hashes and tree roots, by a second implementation of docs/format.md.

python tests/vectors/make_audit.py            writes tests/vectors/audit.json
python tests/vectors/make_audit.py --check    says whether it is what it should be
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

FILE = Path(__file__).with_name("audit.json")

EVENTS = [
    {"event": "box.created", "phase": "event", "actor": "box", "outcome": "done", "detail": {"box": "ab" * 32}},
    {"event": "model.installed", "phase": "intent", "actor": "uid:1000", "detail": {"wanted": "clinical@1.0.0"}},
    {
        "event": "model.installed",
        "phase": "outcome",
        "actor": "uid:1000",
        "of": 1,
        "outcome": "refused",
        "detail": {"code": "damaged", "segments": 3, "kept": True},
    },
    {"event": "log.repaired", "phase": "event", "actor": "box", "outcome": "done", "detail": {"bytes": 17}},
    {
        "event": "token.created",
        "phase": "event",
        "actor": "uid:0",
        "outcome": "done",
        "detail": {"name": "Lab\u00f6r \u2603"},
    },
]


def line(number: int, event: dict[str, object]) -> bytes:
    members = {"v": 1, "seq": number, "time": f"2026-11-23T09:00:{number:02}Z", **event}
    return json.dumps(members, sort_keys=True, separators=(",", ":")).encode("ascii")


def root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, as it is written there: split at the largest power of two below the size."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + root(leaves[:split]) + root(leaves[split:])).digest()


def vectors() -> dict[str, object]:
    lines = [line(number, event) for number, event in enumerate(EVENTS)]
    return {
        "lines": [one.decode() for one in lines],
        "leaves": [hashlib.sha256(b"\x00" + one).hexdigest() for one in lines],
        "roots": [root(lines[:size]).hex() for size in range(len(lines) + 1)],
    }


def main() -> int:
    text = json.dumps(vectors(), indent=1) + "\n"
    if "--check" in sys.argv[1:]:
        return 0 if FILE.exists() and FILE.read_text() == text else 1
    FILE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
