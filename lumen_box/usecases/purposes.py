"""What the vault keeps for the use cases: the purposes of its entries, and what their ids are."""

from __future__ import annotations

from typing import Final

IDENTITY: Final = "identity"  # "box": seed of the key that signs enrolments
RECIPIENT: Final = "recipient"  # sequence of the enrolment: seed of the key that content keys are sealed to
AUDIT: Final = "audit"  # generation: seed of the key that signs checkpoints
CONTENT: Final = "content"  # object id: content key
MANIFEST: Final = "manifest"  # SHA-256 of publisher id, name and version: SHA-256 of the manifest, 32 bytes
PINNED: Final = "trust"  # publisher id: alias, name and fingerprint of the pinned root
FLOORS: Final = "floors"  # publisher id
REVOCATIONS: Final = "revocations"  # publisher id
PROMPT: Final = "prompt"  # name of the published prompt: kind, text and when it was published
