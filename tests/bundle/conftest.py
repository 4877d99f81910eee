from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from .sticks import Stick, make_stick


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Stick:
    return make_stick(tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def stick(pristine: Stick, tmp_path: Path) -> Stick:
    """A copy to break; the publisher's own copies of the parts are shared."""
    shutil.copytree(pristine.where, tmp_path / "usb")
    return replace(pristine, where=tmp_path / "usb")
