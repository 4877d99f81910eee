"""Where everything lies on a medium, and what a name may look like.

lumen-medium/v1/<publisher id>/
  metadata/                the TUF metadata, every version of the root
  targets/                 manifests and revocations, under their TUF path, the hash before the last name
  objects/<object id>/     part-0001 …
    recipients/<key id>    the content key, sealed to one box
"""

from __future__ import annotations

import re

from ..errors import Damaged
from ..trust.layout import NAME as _NAME
from ..trust.layout import TargetPath, parse_metadata_name

TOP = "lumen-medium"
VERSION = "v1"
METADATA, TARGETS, OBJECTS, RECIPIENTS = "metadata", "targets", "objects", "recipients"

NAME = rf"(?!.*\.\.){_NAME}"
HEX16 = r"[0-9a-f]{32}"
HEX32 = r"[0-9a-f]{64}"


def checked(value: str, pattern: str, what: str) -> str:
    """``value`` if the whole of it matches ``pattern``, else ``Damaged``: no name reaches the disk without this."""
    if len(value) > 255 or not re.fullmatch(pattern, value):
        raise Damaged(f"{what} does not have the form of one: {value[:80]!r}.", kept="Nothing was changed.")
    return value


def object_id(value: str) -> str:
    return checked(value, HEX16, "An object id")


def publisher_id(value: str) -> str:
    return checked(value, HEX32, "A publisher id")


def key_id(value: str) -> str:
    return checked(value, HEX32, "A recipient key id")


def metadata_name(value: str) -> str:
    parse_metadata_name(value)
    return value


def target_file(path: str, sha256: str) -> tuple[str, ...]:
    """The components below ``targets/`` of the file that holds a target: the hash, a dot, then the last name.

    As in a TUF repository with consistent snapshots, so that a new export never overwrites what older metadata names.
    """
    *folders, last = str(TargetPath.parse(path)).split("/")
    return (*folders, f"{checked(sha256, HEX32, 'A hash')}.{last}")


def part_name(number: int) -> str:
    """``part-0001`` for 1; more digits from 10,000 on."""
    return f"part-{number:04d}"
