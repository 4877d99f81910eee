"""The metadata in tests/vectors/trust, which another implementation signed, read by this one."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lumen_box.errors import LumenError
from lumen_box.sealed.fingerprint import Fingerprint
from lumen_box.sealed.signatures import SigningKey
from lumen_box.trust.accepted import Accepted
from lumen_box.trust.floors import Floors, raised
from lumen_box.trust.publisher_id import canonical, publisher_id, read_root
from lumen_box.trust.revocations import Revocation
from lumen_box.trust.session import accept

VECTORS = Path(__file__).parents[1] / "vectors"
TRUST = VECTORS / "trust"
EXPECTED: dict[str, Any] = json.loads((TRUST / "expected.json").read_bytes())
FILES = {path.name: path.read_bytes() for path in (TRUST / "metadata").iterdir()}


def read(pinned: str = "1.root.json", floors: Floors | None = None) -> Accepted:
    return accept(
        pinned_root=FILES[pinned],
        known={},
        fetch=FILES.get,
        fetch_target=lambda path, digest: (TRUST / "targets" / path).read_bytes(),
        now=datetime(2026, 12, 1, tzinfo=UTC),
        floors=floors,
    )


@pytest.mark.parametrize("pinned", ["1.root.json", "2.root.json"])
def test_it_is_accepted_and_means_this(pinned: str) -> None:
    accepted = read(pinned)
    assert accepted.publisher == "Vector publisher"
    assert accepted.publisher_id == EXPECTED["publisher_id"]
    assert {path: target.sha256 for path, target in accepted.targets.items()} == EXPECTED["targets"]
    assert accepted.revocations.bundles == {"models/clinical/0.9.0.json": Revocation(True, "Wrong doses.")}
    assert raised(Floors(), accepted.observed).to_json().decode() == EXPECTED["floors"]


def test_fingerprints() -> None:
    for name, entry in zip(("1.root.json", "2.root.json"), EXPECTED["roots"], strict=True):
        found = read_root(FILES[name])
        assert (found.fingerprint.hex, found.fingerprint.words) == (entry["fingerprint"], entry["words"])
        assert found.fingerprint == Fingerprint.parse(entry["words"])
        assert found.publisher_id == publisher_id(FILES[name]) == EXPECTED["publisher_id"]


def test_key_ids() -> None:
    for entry in EXPECTED["keys"].values():
        assert SigningKey.from_seed(bytes.fromhex(entry["seed"])).public.fingerprint.hex == entry["id"]


def test_the_bytes_that_are_signed() -> None:
    assert canonical(json.loads(FILES["timestamp.json"])["signed"]).decode() == EXPECTED["canonical_timestamp"]


@pytest.mark.parametrize("case", EXPECTED["cases"], ids=lambda case: case["what"])
def test_floors(case: dict[str, Any]) -> None:
    floors = Floors.from_json(case["floors"].encode())
    if case["code"] == 0:
        assert read(floors=floors)
        return
    with pytest.raises(LumenError) as caught:
        read(floors=floors)
    assert caught.value.exit_code == case["code"]


def test_the_vectors_are_what_the_second_implementation_writes() -> None:
    script = VECTORS / "make_trust.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "lumen_box" not in script.read_text()
