"""Every cap on what arrives from outside, in one place, checked before anything is allocated.

The slices have four names: a *chunk* is 16 KiB of plaintext (16,400 bytes stored), a *segment* is a number of whole
chunks and the unit that is hashed and signed, a *part* is a number of whole segments and one file, a *medium* holds
parts.
"""

from __future__ import annotations

# Slices. A full segment is 64 MiB of plaintext, the largest thing that a box holds in memory at once.
SEGMENT_CHUNKS = MAX_SEGMENT_CHUNKS = 4096
PART_SEGMENTS = 32  # about 2 GiB, which every file system of a stick takes
MAX_PART_SEGMENTS = 63  # the largest part that FAT32 takes
MAX_OBJECT = 4 << 40  # bytes of plaintext
MAX_SEGMENTS = MAX_OBJECT // (MAX_SEGMENT_CHUNKS * 16384) + 1

# Files of a medium, in bytes.
MAX_MANIFEST = 8 << 20
MAX_METADATA = 8 << 20
MAX_TARGET = MAX_MANIFEST
MAX_RECIPIENT = 8 << 10
MAX_ENROLMENT = 64 << 10

# Folders of a medium, in entries.
MAX_ENTRIES = 4096

# Fields of the manifest and of an enrolment; texts in characters.
MAX_NAME = 64
MAX_TITLE = 128
MAX_TEXT = 128 << 10
MAX_MARKER = 64
MAX_OBJECTS = 1
MAX_RELEASE = 2**31 - 1
MAX_CONTEXT = 2**31 - 1
MAX_PARAMETERS = 2**50
MAX_SEQUENCE = 2**31 - 1
