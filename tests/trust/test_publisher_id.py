"""A root before it is pinned: its fingerprint, its publisher, its own signatures."""

from __future__ import annotations

import json

import pytest

from lumen_box.errors import Damaged, TooNew, Untrusted
from lumen_box.sealed.fingerprint import Fingerprint
from lumen_box.trust.publisher_id import publisher_id, read_root, short_name

from .simulator import Publisher, keys, sealed


@pytest.fixture(scope="module")
def roots() -> list[bytes]:
    """Two roots of one publisher; the second has other keys."""
    publisher = Publisher()
    publisher.rotate("root")
    publisher.export()
    return [publisher.first_root, publisher.repository.root]


def fingerprint(root: bytes) -> Fingerprint:
    return read_root(root).fingerprint


def test_the_id_is_the_fingerprint_of_the_first_root(roots: list[bytes]) -> None:
    assert publisher_id(roots[0]) == fingerprint(roots[0]).hex
    assert publisher_id(roots[1]) == publisher_id(roots[0])
    assert fingerprint(roots[1]) != fingerprint(roots[0])


def test_what_a_root_says(roots: list[bytes]) -> None:
    found = [read_root(root) for root in roots]
    assert [root.version for root in found] == [1, 2]
    assert [root.name for root in found] == ["Demo publisher"] * 2
    assert Fingerprint.parse(found[1].fingerprint.words) == found[1].fingerprint != found[0].fingerprint


def test_the_fingerprint_is_of_what_is_signed(roots: list[bytes]) -> None:
    """Other signatures over the same content and other blanks leave it; any other content does not."""
    envelope = json.loads(roots[0])
    signed = envelope["signed"]
    assert fingerprint(json.dumps(envelope, indent=1).encode()) == fingerprint(roots[0])
    assert fingerprint(sealed(signed, keys("root"))) == fingerprint(roots[0])
    for edit in ({"expires": "2031-01-01T00:00:00Z"}, {"publisher": "Demo publisheR"}):
        assert fingerprint(sealed(signed | edit, keys("root"))) != fingerprint(roots[0])


def test_a_root_must_be_signed_by_itself(roots: list[bytes]) -> None:
    signed = json.loads(roots[0])["signed"]
    for signers in ([], keys("stranger"), keys("timestamp")):
        with pytest.raises(Untrusted):
            read_root(sealed(signed, signers))


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\0", b'{"signed": {}, "signatures": []}'])
def test_what_is_no_root(data: bytes) -> None:
    for read in (read_root, publisher_id):
        with pytest.raises(Damaged):
            read(data)


def test_a_root_in_another_encoding(roots: list[bytes]) -> None:
    """All of its bytes are ASCII, and a parser that guesses encodings would read it."""
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le"):
        with pytest.raises(Damaged):
            read_root(roots[0].decode().encode(encoding))


def test_a_root_of_the_future(roots: list[bytes]) -> None:
    signed = json.loads(roots[0])["signed"] | {"successor": "x"}
    with pytest.raises(TooNew):
        read_root(sealed(signed, keys("root")))


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("Demo publisher", "demo-publisher"),
        ("Klinikum Köln (KI)", "klinikum-koln-ki"),
        ("  --A..B--  ", "a-b"),
        ("Ⅷ", "viii"),
        ("病院", "publisher"),
        ("x" * 200, "x" * 64),
        ("x" * 63 + " y", "x" * 63),
    ],
)
def test_short_names(name: str, short: str) -> None:
    assert short_name(name) == short
