"""The manifest: what the publisher says about one version of a model, and the hashes of every byte of it.

A manifest is a TUF target, ``models/<name>/<version>.json``; what was signed are its stored bytes. Whatever this
version does not know (a field, a format, a kind of object, a suite) is ``TooNew`` and never skipped; whatever
contradicts itself is ``Damaged``. Hashes are SHA-256 of ciphertext, one a segment: AEAD alone could not tell the
publisher from another holder of the content key.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from ..clock import parse_stamp, stamp
from ..errors import Damaged, TooNew
from ..strictjson import Fields, dumps, loads
from ..trust.layout import MODELS, TargetPath
from . import limits
from .forms import LINE, TEXT, known_format
from .layout import HEX16, HEX32, NAME
from .slices import Slices

FORMAT = 1
KINDS = ("model",)  # reserved: mmproj, lora, draft
SUITES = ("c2sp-chunked-v1-aes256gcm",)
Role = Literal["chat", "embedding"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class StoredObject:
    """One encrypted object.

    Attributes:
        id: 32 hexadecimal digits, 16 random bytes.
        size: bytes of plaintext.
        segment_chunks: chunks a segment.
        part_segments: segments a part.
        segments: SHA-256 of every segment's stored bytes, 64 hexadecimal digits each.
    """

    id: str
    size: int
    segment_chunks: int
    part_segments: int
    segments: tuple[str, ...]
    kind: str = KINDS[0]
    suite: str = SUITES[0]

    @property
    def slices(self) -> Slices:
        return Slices(self.size, self.segment_chunks, self.part_segments)

    @property
    def raw_id(self) -> bytes:
        return bytes.fromhex(self.id)

    @property
    def stored_size(self) -> int:
        return self.slices.stored

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "suite": self.suite,
            "size": self.size,
            "segment_chunks": self.segment_chunks,
            "part_segments": self.part_segments,
            "segments": list(self.segments),
        }

    @classmethod
    def from_json(cls, value: object, what: str) -> StoredObject:
        fields = Fields(value, what)
        stored = cls(
            id=fields.text("id", pattern=HEX16),
            kind=fields.one_of("kind", KINDS),
            suite=fields.one_of("suite", SUITES),
            size=fields.number("size", least=1, most=limits.MAX_OBJECT),
            segment_chunks=fields.number("segment_chunks", least=1, most=limits.MAX_SEGMENT_CHUNKS),
            part_segments=fields.number("part_segments", least=1, most=limits.MAX_PART_SEGMENTS),
            segments=_hashes(fields.take("segments", list), what),
        )
        fields.end()
        if len(stored.segments) != stored.slices.segments:
            raise Damaged(f"{what} has {len(stored.segments)} hashes for {stored.slices.segments} segments.")
        return stored


@dataclass(frozen=True)
class Manifest:
    """One version of a model.

    ``context`` is in tokens, ``parameters`` a count, ``reasoning`` the two markers between which a model thinks.
    ``template`` is Jinja, ``card`` Markdown, ``licence`` one line. ``release`` grows from version to version;
    a box refuses to install one below the highest ``min_release`` it has seen for the name.
    """

    name: str
    version: str
    release: int
    min_release: int
    signed_at: datetime
    role: Role
    architecture: str
    parameters: int
    context: int
    quantisation: str
    objects: tuple[StoredObject, ...]
    template: str | None = None
    reasoning: tuple[str, str] | None = None
    licence: str | None = None
    card: str | None = None

    @property
    def path(self) -> str:
        """The TUF target path."""
        return str(TargetPath(MODELS, self.name, self.version))

    @property
    def model(self) -> StoredObject:
        """The one object that version 1 carries."""
        return self.objects[0]

    @property
    def template_sha256(self) -> str | None:
        return None if self.template is None else _text_hash(self.template)

    def to_bytes(self) -> bytes:
        """The bytes to store and sign; members that do not apply are left out."""
        value = {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "release": self.release,
            "min_release": self.min_release,
            "signed_at": stamp(self.signed_at),
            "role": self.role,
            "architecture": self.architecture,
            "parameters": self.parameters,
            "context": self.context,
            "quantisation": self.quantisation,
            "template": self.template,
            "template_sha256": self.template_sha256,
            "reasoning": list(self.reasoning) if self.reasoning else None,
            "licence": self.licence,
            "card": self.card,
            "objects": [stored.to_json() for stored in self.objects],
        }
        return dumps({key: member for key, member in value.items() if member is not None})

    @classmethod
    def parse(cls, data: bytes, path: str | None = None) -> Manifest:
        """The manifest in ``data``, which must be the one for the target ``path`` where that is given.

        Raises ``Damaged`` for what is malformed or contradicts itself, ``TooNew`` for what is unknown.
        """
        what = f"The manifest {path}" if path else "The manifest"
        fields = Fields(loads(data, what=what, max_bytes=limits.MAX_MANIFEST), what)
        known_format(fields, FORMAT)
        manifest = _read(fields, what)
        fields.end()
        if path is not None and manifest.path != path:
            raise Damaged(f"{what} is the manifest of {manifest.name}@{manifest.version}.", kept="Nothing was changed.")
        return manifest


def _read(fields: Fields, what: str) -> Manifest:
    template = _template(fields, what)
    release = fields.number("release", least=1, most=limits.MAX_RELEASE)
    return Manifest(
        name=fields.text("name", pattern=NAME, longest=limits.MAX_NAME),
        version=fields.text("version", pattern=NAME, longest=limits.MAX_NAME),
        release=release,
        min_release=fields.number("min_release", most=release),
        signed_at=_moment(fields, what),
        role=fields.one_of("role", ROLES),
        architecture=fields.text("architecture", pattern=LINE, longest=limits.MAX_TITLE),
        parameters=fields.number("parameters", most=limits.MAX_PARAMETERS),
        context=fields.number("context", least=1, most=limits.MAX_CONTEXT),
        quantisation=fields.text("quantisation", pattern=LINE, longest=limits.MAX_TITLE),
        objects=_objects(fields.take("objects", list), what),
        template=template,
        reasoning=_markers(fields.optional("reasoning", list), what),
        licence=_optional(fields, "licence", LINE, limits.MAX_TITLE),
        card=_optional(fields, "card", TEXT, limits.MAX_TEXT),
    )


def _optional(fields: Fields, name: str, pattern: str, longest: int) -> str | None:
    value = fields.optional(name, str)
    if value is not None and (len(value) > longest or not re.fullmatch(pattern, value)):
        raise Damaged(f"The field {name!r} of {fields.what} does not have the required form.")
    return value


def _template(fields: Fields, what: str) -> str | None:
    template = _optional(fields, "template", TEXT, limits.MAX_TEXT)
    digest = _optional(fields, "template_sha256", HEX32, 64)
    if (None if template is None else _text_hash(template)) != digest:
        raise Damaged(f"{what} has a chat template that does not have the hash given for it.")
    return template


def _text_hash(text: str) -> str:
    """Of the text in UTF-8; a lone surrogate, which no reader accepts, still has one."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _moment(fields: Fields, what: str) -> datetime:
    text = fields.text("signed_at", longest=20)
    with contextlib.suppress(ValueError, OverflowError):
        if stamp(parse_stamp(text)) == text:
            return parse_stamp(text)
    raise Damaged(f"The field 'signed_at' of {what} is not a time.")


def _objects(values: list[object], what: str) -> tuple[StoredObject, ...]:
    if len(values) != limits.MAX_OBJECTS:
        raise TooNew(
            f"{what} has {len(values)} objects; this version takes exactly one.",
            kept="Nothing was changed.",
            then="Update Lumen Box first, then try again.",
        )
    return tuple(StoredObject.from_json(value, f"The object of {what}") for value in values)


def _markers(values: list[object] | None, what: str) -> tuple[str, str] | None:
    if values is None:
        return None
    markers = [value for value in values if isinstance(value, str) and 0 < len(value) <= limits.MAX_MARKER]
    if len(values) != 2 or len(markers) != 2 or not all(marker.isprintable() for marker in markers):
        raise Damaged(f"The reasoning markers of {what} are not two short texts.")
    return markers[0], markers[1]


def _hashes(values: list[object], what: str) -> tuple[str, ...]:
    if not 0 < len(values) <= limits.MAX_SEGMENTS:
        raise Damaged(f"{what} has {len(values)} segments; between 1 and {limits.MAX_SEGMENTS} are allowed.")
    digits = set("0123456789abcdef")
    for value in values:
        if not isinstance(value, str) or len(value) != 64 or not digits.issuperset(value):
            raise Damaged(f"{what} has a segment hash that is not one.")
    return tuple(str(value) for value in values)
