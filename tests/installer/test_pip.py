"""pip through the installer: exactly the pinned files, and pip's own words where it fails."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from lumen_box.errors import LumenError
from lumen_installer import pip

PYTHON = Path(sys.executable)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel of one module in a folder that is all that pip looks at; what it installs goes to ``site``."""
    for name, value in {"INDEX_URL": "", "NO_INDEX": "1", "FIND_LINKS": tmp_path, "TARGET": tmp_path / "site"}.items():
        monkeypatch.setenv(f"PIP_{name}", str(value))
    path = tmp_path / "tiny_thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_thing.py", "x = 1\n")
        archive.writestr("tiny_thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n")
        archive.writestr("tiny_thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_thing-1.0.dist-info/RECORD", "")
    return path


def test_a_pin_whose_hash_fits_is_installed_and_told(wheel: Path) -> None:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    told: list[tuple[int, str]] = []
    pip.install_pins(PYTHON, [f"tiny-thing==1.0 \\\n    --hash=sha256:{digest}"], lambda *news: told.append(news))
    assert told == [(1, wheel.name), (1, "writing them all to the disk")]
    assert (wheel.parent / "site" / "tiny_thing.py").exists()


@pytest.mark.parametrize(
    ("pin", "words"),
    [
        (f"tiny-thing==1.0 --hash=sha256:{'0' * 64}", "DO NOT MATCH THE HASHES"),
        ("tiny-thing==1.0", "Hashes are required"),
        (f"tiny-thing==2.0 --hash=sha256:{'0' * 64}", "No matching distribution"),
    ],
)
def test_anything_else_is_refused_in_pips_words(wheel: Path, pin: str, words: str) -> None:
    with pytest.raises(LumenError, match="pip failed") as failure:
        pip.install_pins(PYTHON, [pin], lambda *news: None)
    assert words in str(failure.value)
    assert not (wheel.parent / "site").exists()
