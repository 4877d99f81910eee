"""What a manifest may say; whatever else arrives has a clear answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lumen_box.bundle import limits
from lumen_box.bundle.manifest import Manifest
from lumen_box.errors import Damaged, LumenError, TooNew

VECTOR = json.loads((Path(__file__).parent.parent / "vectors" / "bundle.json").read_text())["manifest"]
Value = dict[str, Any]


def parsed(change: Callable[[Value], object]) -> Manifest:
    value = json.loads(VECTOR["bytes"])
    change(value)
    return Manifest.parse(json.dumps(value).encode())


def test_the_vector_says_what_it_says() -> None:
    manifest = Manifest.parse(VECTOR["bytes"].encode(), VECTOR["target"])
    assert (manifest.name, manifest.version, manifest.release, manifest.min_release) == ("clinical", "1.0.0", 3, 2)
    assert manifest.signed_at == datetime(2026, 11, 23, 9, tzinfo=UTC)
    assert manifest.reasoning == ("<think>", "</think>")
    assert manifest.template is not None and manifest.template.endswith("é")
    assert manifest.model.stored_size == len(VECTOR["part-0001"]) // 2
    assert manifest.path == VECTOR["target"]


def test_what_is_written_is_read_back_and_stays_the_same() -> None:
    data = VECTOR["bytes"].encode()
    assert Manifest.parse(data).to_bytes() == data


@pytest.mark.parametrize("field", ["template", "template_sha256", "reasoning", "licence", "card"])
def test_optional_members_may_be_left_out(field: str) -> None:
    def change(value: Value) -> None:
        for name in {field} | ({"template", "template_sha256"} if field.startswith("template") else set()):
            del value[name]

    assert getattr(parsed(change), field) is None


def test_a_manifest_under_another_path_is_refused() -> None:
    with pytest.raises(Damaged, match=r"clinical@1\.0\.0"):
        Manifest.parse(VECTOR["bytes"].encode(), "models/clinical/1.0.1.json")


def put(*path: str | int, to: object) -> Callable[[Value], None]:
    def change(value: Value) -> None:
        inner: Any = value
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = to

    return change


def drop(name: str) -> Callable[[Value], object]:
    return lambda value: value.pop(name)


def twice(value: Value) -> None:
    value["objects"] *= 2


OBJECT = ("objects", 0)
BAD: list[tuple[str, Callable[[Value], object], type[LumenError]]] = [
    ("unknown format", put("format", to=2), TooNew),
    ("format nought", put("format", to=0), Damaged),
    ("format is text", put("format", to="1"), Damaged),
    ("unknown member", put("surprise", to=1), TooNew),
    ("unknown member of the object", put(*OBJECT, "surprise", to=1), TooNew),
    ("unknown role", put("role", to="oracle"), TooNew),
    ("reserved kind mmproj", put(*OBJECT, "kind", to="mmproj"), TooNew),
    ("reserved kind lora", put(*OBJECT, "kind", to="lora"), TooNew),
    ("reserved kind draft", put(*OBJECT, "kind", to="draft"), TooNew),
    ("unknown suite", put(*OBJECT, "suite", to="c2sp-chunked-v2"), TooNew),
    ("two objects", twice, TooNew),
    ("no object", put("objects", to=[]), TooNew),
    ("object is text", put("objects", to=["x"]), Damaged),
    ("no name", drop("name"), Damaged),
    *[
        (f"name {name!r}", put("name", to=name), Damaged)
        for name in ("..", "../x", "a/b", "a\0b", "a\nb", "Clinical", "-a", ".a", "a..b", "", "ä", "a" * 65, "a b", 7)
    ],
    *[(f"version {name!r}", put("version", to=name), Damaged) for name in ("..", "1/2", "1.0\0", "V1", "", None)],
    ("release nought", put("release", to=0), Damaged),
    ("release beyond", put("release", to=2**31), Damaged),
    ("least release above the release", put("min_release", to=4), Damaged),
    ("negative least release", put("min_release", to=-1), Damaged),
    ("a Boolean release", put("release", to=True), Damaged),
    ("signed at no time", put("signed_at", to="yesterday"), Damaged),
    ("signed at another spelling", put("signed_at", to="2026-1-2T09:00:00Z"), Damaged),
    ("context nought", put("context", to=0), Damaged),
    ("context beyond", put("context", to=2**31), Damaged),
    ("parameters beyond", put("parameters", to=2**53 - 1), Damaged),
    ("architecture with a line feed", put("architecture", to="ll\nama"), Damaged),
    ("architecture that turns the text", put("architecture", to="ll\u202eama"), Damaged),
    ("template of another hash", put("template", to="{{ x }}"), Damaged),
    ("hash without a template", drop("template"), Damaged),
    ("template without a hash", drop("template_sha256"), Damaged),
    ("template too long", put("template", to="x" * (limits.MAX_TEXT + 1)), Damaged),
    ("template with half a character", put("template", to="\ud800"), Damaged),
    ("card with a zero", put("card", to="a\0b"), Damaged),
    ("card too long", put("card", to="x" * (limits.MAX_TEXT + 1)), Damaged),
    ("one marker", put("reasoning", to=["<think>"]), Damaged),
    ("empty marker", put("reasoning", to=["<think>", ""]), Damaged),
    ("marker is a number", put("reasoning", to=["<think>", 1]), Damaged),
    ("long marker", put("reasoning", to=["<think>", "x" * 65]), Damaged),
    ("licence of two lines", put("licence", to="a\nb"), Damaged),
    ("object id too short", put(*OBJECT, "id", to="00"), Damaged),
    ("object id in capitals", put(*OBJECT, "id", to="AB" * 16), Damaged),
    ("object id that climbs", put(*OBJECT, "id", to="../../../../../../../../../etc/pass"), Damaged),
    *[(f"size {size}", put(*OBJECT, "size", to=size), Damaged) for size in (0, -1, 2**32 - 1, 2**53 - 1, 2**63)],
    ("size beyond the cap", put(*OBJECT, "size", to=limits.MAX_OBJECT + 1), Damaged),
    *[(f"segments of {n}", put(*OBJECT, "segment_chunks", to=n), Damaged) for n in (0, -1, 4097, 2**32 - 1, 2**63)],
    *[(f"parts of {n}", put(*OBJECT, "part_segments", to=n), Damaged) for n in (0, 64, 2**32 - 1, 2**63)],
    ("a hash too many", put(*OBJECT, "segments", to=["0" * 64] * 2), Damaged),
    ("no hash", put(*OBJECT, "segments", to=[]), Damaged),
    ("far too many hashes", put(*OBJECT, "segments", to=["0" * 64] * (limits.MAX_SEGMENTS + 1)), Damaged),
    ("a short hash", put(*OBJECT, "segments", to=["0" * 63]), Damaged),
    ("a hash in capitals", put(*OBJECT, "segments", to=["A" * 64]), Damaged),
    ("a hash that is a number", put(*OBJECT, "segments", to=[1]), Damaged),
]


@pytest.mark.parametrize(("change", "error"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_manifests(change: Callable[[Value], object], error: type[LumenError]) -> None:
    with pytest.raises(error) as caught:
        parsed(change)
    assert type(caught.value) is error
    assert caught.value.what.endswith(".")


RAW = [
    ("nothing", b""),
    ("not JSON", b"model"),
    ("a list", b"[]"),
    ("a key twice", b'{"format":1,"format":1}'),
    ("a float", b'{"format":1.0}'),
    ("NaN", b'{"format":NaN}'),
    ("an integer beyond 2**53", b'{"format":9007199254740992}'),
    ("an endless integer", b'{"format":' + b"1" * 5000 + b"}"),
    ("nested too deep", b'{"a":' * 100 + b"1" + b"}" * 100),
    ("not ASCII", '{"name":"ä"}'.encode()),
    ("two values", b"{}{}"),
    ("too large", b" " * (limits.MAX_MANIFEST + 1)),
]


@pytest.mark.parametrize("data", [row[1] for row in RAW], ids=[row[0] for row in RAW])
def test_what_is_not_strict_json_is_damaged(data: bytes) -> None:
    with pytest.raises(Damaged):
        Manifest.parse(data)


def test_the_largest_manifest_fits_its_cap() -> None:
    value = json.loads(VECTOR["bytes"])
    value |= {"template": "\U0001f600" * limits.MAX_TEXT, "card": "\U0001f600" * limits.MAX_TEXT}
    value["objects"][0]["segments"] = ["0" * 64] * limits.MAX_SEGMENTS
    assert len(json.dumps(value, separators=(",", ":"))) <= limits.MAX_MANIFEST
