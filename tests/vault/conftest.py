"""One small vault a session; each test gets a copy of its folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.vault.opening import create


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made-once") / "vault"
    create(folder)
    return folder


@pytest.fixture
def copied(made_once: Path, tmp_path: Path) -> Path:
    shutil.copytree(made_once, tmp_path / "vault")
    return tmp_path / "vault"
