"""What a publisher takes back: bundles by path, objects by id, boxes by the fingerprint of their identity key.

A revoked thing is not installed and not activated any more. With ``stop`` a model that runs is stopped as well, and
without it what runs goes on until somebody changes it. The list is the target ``revocations.json`` of the top-level
role, so the floors of that role keep an older list from coming back.

    {"format": 1, "bundles": [{"path": …, "reason": …, "stop": …}], "objects": [{"id": …}], "boxes": [{"id": …}]}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import strictjson
from ..errors import Damaged, TooNew, Untrusted
from ..strictjson import Fields
from .layout import TARGETS, TargetPath
from .limits import MAX_REASON, MAX_REVOCATIONS, MAX_REVOCATIONS_BYTES
from .refusals import said_in_full

FORMAT = 1
OBJECT_ID = r"[0-9a-f]{32}"
BOX_ID = r"[0-9a-f]{64}"


@dataclass(frozen=True)
class Revocation:
    """Why, and whether it must stop at once."""

    stop: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Revocations:
    """Bundles by target path, objects by id (32 hex digits), boxes by fingerprint (64 hex digits)."""

    bundles: Mapping[str, Revocation] = field(default_factory=dict)
    objects: Mapping[str, Revocation] = field(default_factory=dict)
    boxes: Mapping[str, Revocation] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: bytes) -> Revocations:
        """``Damaged`` or ``TooNew`` if these are not the bytes of a list of revocations."""
        with said_in_full():
            return cls._parsed(data)

    @classmethod
    def _parsed(cls, data: bytes) -> Revocations:
        what = "The list of revocations"
        fields = Fields(strictjson.loads(data, what=what, max_bytes=MAX_REVOCATIONS_BYTES), what)
        if fields.number("format", least=1) != FORMAT:
            raise TooNew(f"{what} has a format that this version does not know.", then="Update Lumen Box first.")
        found = cls(
            bundles=_read(fields, "bundles", "path", r"[a-z0-9./_-]{1,255}"),
            objects=_read(fields, "objects", "id", OBJECT_ID),
            boxes=_read(fields, "boxes", "id", BOX_ID),
        )
        fields.end()
        if any(TargetPath.parse(path).role == TARGETS for path in found.bundles):
            raise Damaged(f"{what} names something that is not a bundle.", kept="Nothing was changed.")
        return found

    def to_bytes(self) -> bytes:
        """The bytes to be signed; what could not be read back is refused with the reader's error."""
        value = {
            "format": FORMAT,
            "bundles": _written(self.bundles, "path"),
            "objects": _written(self.objects, "id"),
            "boxes": _written(self.boxes, "id"),
        }
        data = strictjson.dumps(value)
        Revocations.parse(data)
        return data

    def adding(
        self,
        *,
        bundles: Iterable[str] = (),
        objects: Iterable[str] = (),
        boxes: Iterable[str] = (),
        stop: bool = False,
        reason: str = "",
    ) -> Revocations:
        """This list and more; a thing that is listed already gets the new reason, and is never less than stopped."""
        return Revocations(
            _more(self.bundles, bundles, stop, reason),
            _more(self.objects, objects, stop, reason),
            _more(self.boxes, boxes, stop, reason),
        )

    def find(self, *, path: str = "", objects: Iterable[str] = (), box: str = "") -> Revocation | None:
        """What applies to a bundle with these objects on this box; the one that stops, where several do."""
        found = [self.bundles.get(path), self.boxes.get(box), *(self.objects.get(name) for name in objects)]
        return max(filter(None, found), key=lambda revocation: revocation.stop, default=None)

    def refuse(self, *, path: str = "", objects: Iterable[str] = (), box: str = "") -> None:
        """``Untrusted`` if anything here was revoked."""
        if found := self.find(path=path, objects=objects, box=box):
            mine = found is self.boxes.get(box)
            what = "this box" if mine else _in_words(path)
            because = f" The publisher's reason: {found.reason}" if found.reason else ""
            raise Untrusted(
                f"The publisher has revoked {what}.{because}",
                kept="Nothing was changed.",
                then="Ask the publisher why: a revoked box gets no models any more."
                if mine
                else "Ask the publisher for a version that replaces it.",
            )


def _in_words(path: str) -> str:
    if not path:
        return "this"
    target = TargetPath.parse(path)
    return f"{target.name}@{target.version}"


def _read(fields: Fields, name: str, key: str, pattern: str) -> dict[str, Revocation]:
    entries = fields.take(name, list)
    found: dict[str, Revocation] = {}
    for entry in entries[:MAX_REVOCATIONS]:
        item = Fields(entry, "A revocation")
        stop, reason = item.take("stop", bool), item.text("reason", longest=MAX_REASON)
        if not (reason.isprintable() or not reason):
            raise Damaged("The reason of a revocation is not a plain line of text.", kept="Nothing was changed.")
        found[item.text(key, pattern=pattern)] = Revocation(stop, reason)
        item.end()
    if len(found) != len(entries):
        raise Damaged(f"{fields.what} names something twice, or too much.", kept="Nothing was changed.")
    return found


def _written(entries: Mapping[str, Revocation], key: str) -> list[dict[str, Any]]:
    return [{key: name, "reason": item.reason, "stop": item.stop} for name, item in sorted(entries.items())]


def _more(known: Mapping[str, Revocation], names: Iterable[str], stop: bool, reason: str) -> dict[str, Revocation]:
    added = {name: Revocation(stop or known.get(name, Revocation()).stop, reason) for name in names}
    return {**known, **added}
