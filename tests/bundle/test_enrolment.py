"""Enrolments: the box's word, in the box's signature, and never another's."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lumen_box.bundle.enrolment import CONTEXT, Enrolment
from lumen_box.errors import Damaged, LumenError, TooNew, Untrusted
from lumen_box.sealed.fingerprint import Fingerprint
from lumen_box.sealed.recipient import RecipientKey
from lumen_box.sealed.signatures import SigningKey

VECTOR = json.loads((Path(__file__).parent.parent / "vectors" / "bundle.json").read_text())["enrolment"]
IDENTITY = SigningKey.from_seed(bytes.fromhex(VECTOR["identity_seed"]))
Outer = dict[str, str]
Inner = dict[str, Any]


def test_the_vector_is_accepted_and_holds_the_keys_it_was_made_of() -> None:
    enrolment = Enrolment.parse(VECTOR["file"].encode(), Fingerprint.parse(VECTOR["words"]))
    assert (enrolment.name, enrolment.sequence, enrolment.box_id) == ("Ward 7", 2, VECTOR["box_id"])
    assert enrolment.audit == SigningKey.from_seed(bytes.fromhex(VECTOR["audit_seed"])).public
    assert enrolment.recipient == RecipientKey.from_seed(bytes.fromhex(VECTOR["recipient_seed"])).public


def test_a_new_enrolment_of_the_same_box_keeps_its_fingerprint() -> None:
    first = Enrolment.parse(VECTOR["file"].encode())
    second = replace(first, sequence=3, recipient=RecipientKey.generate().public)
    again = Enrolment.parse(second.sign(IDENTITY), first.fingerprint)
    assert again == second
    assert again.box_id == first.box_id


def test_nobody_else_signs_it() -> None:
    with pytest.raises(ValueError, match="identity"):
        Enrolment.parse(VECTOR["file"].encode()).sign(SigningKey.generate())


def test_another_fingerprint_is_refused() -> None:
    with pytest.raises(Untrusted, match="fingerprint"):
        Enrolment.parse(VECTOR["file"].encode(), SigningKey.generate().public.fingerprint)


def resigned(change: Callable[[Inner], object]) -> bytes:
    """The vector's payload changed, and honestly signed by the same identity."""
    payload = json.loads(json.loads(VECTOR["file"])["payload"])
    change(payload)
    text = json.dumps(payload)
    signature = IDENTITY.sign(text.encode("utf-8", "surrogatepass"), CONTEXT)
    return json.dumps({"payload": text, "signature": signature.hex()}).encode()


def put(name: str, value: object) -> Callable[[Inner], object]:
    return lambda payload: payload.__setitem__(name, value)


SIGNED: list[tuple[str, Callable[[Inner], object], type[LumenError]]] = [
    ("unknown format", put("format", 2), TooNew),
    ("unknown signature suite", put("signature_suite", "ed25519"), TooNew),
    ("unknown recipient suite", put("recipient_suite", "x25519"), TooNew),
    ("unknown member", put("colour", "red"), TooNew),
    ("no recipient", lambda payload: payload.pop("recipient"), Damaged),
    ("a recipient key cut short", put("recipient", "00" * 1215), Damaged),
    ("a recipient key that is none", put("recipient", "ff" * 1216), Damaged),
    ("an audit key cut short", put("audit", "00" * 1983), Damaged),
    ("sequence nought", put("sequence", 0), Damaged),
    ("sequence beyond", put("sequence", 2**63), Damaged),
    ("no name", put("name", ""), Damaged),
    ("a name of two lines", put("name", "a\nb"), Damaged),
    ("a name that turns the text", put("name", "box\u202e7"), Damaged),
    ("a long name", put("name", "x" * 129), Damaged),
    ("another identity", put("identity", SigningKey.generate().public.raw.hex()), Untrusted),
]


@pytest.mark.parametrize(("change", "error"), [row[1:] for row in SIGNED], ids=[row[0] for row in SIGNED])
def test_bad_payloads(change: Callable[[Inner], object], error: type[LumenError]) -> None:
    with pytest.raises(error) as caught:
        Enrolment.parse(resigned(change))
    assert type(caught.value) is error


def flip(at: int) -> Callable[[Outer], object]:
    def change(outer: Outer) -> None:
        raw = bytearray.fromhex(outer["signature"])
        raw[at] ^= 1
        outer["signature"] = raw.hex()

    return change


def swap_name(outer: Outer) -> None:
    outer["payload"] = outer["payload"].replace("Ward 7", "Ward 8")


FILES: list[tuple[str, Callable[[Outer], object], type[LumenError]]] = [
    ("the ML-DSA half is flipped", flip(0), Untrusted),
    ("the Ed25519 half is flipped", flip(-1), Untrusted),
    ("the payload is changed", swap_name, Untrusted),
    ("half a signature", lambda outer: outer.__setitem__("signature", outer["signature"][: 2 * 3309]), Damaged),
    ("no signature", lambda outer: outer.pop("signature"), Damaged),
    ("a payload that is not ASCII", lambda outer: outer.__setitem__("payload", "{\u00e4}"), Damaged),
    ("a payload with half a character", lambda outer: outer.__setitem__("payload", "{\ud800}"), Damaged),
    ("something beside it", lambda outer: outer.__setitem__("more", ""), TooNew),
]


@pytest.mark.parametrize(("change", "error"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_bad_files(change: Callable[[Outer], object], error: type[LumenError]) -> None:
    outer = json.loads(VECTOR["file"])
    change(outer)
    with pytest.raises(error) as caught:
        Enrolment.parse(json.dumps(outer).encode())
    assert type(caught.value) is error


def test_a_signature_for_another_purpose_is_not_one() -> None:
    payload = json.loads(VECTOR["file"])["payload"]
    outer = {"payload": payload, "signature": IDENTITY.sign(payload.encode(), b"lumen-box/audit/v1").hex()}
    with pytest.raises(Untrusted):
        Enrolment.parse(json.dumps(outer).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"x" * 100, b" " * (64 << 10) + b"{}"])
def test_what_is_no_enrolment_at_all(data: bytes) -> None:
    with pytest.raises(Damaged):
        Enrolment.parse(data)
