"""One publisher for the session: a box is enrolled and a model added; every test works on its own copy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lumen_box.progress import silent
from lumen_box.publisher.enrol import enrol
from lumen_box.publisher.model import NewModel, add_model
from lumen_box.publisher.workspace import Workspace
from tests.support.tiny_model import write_tiny_model

from .people import CHEAP, PASSPHRASE, Box


@pytest.fixture(scope="session")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny.gguf", merges=40, width=32, layers=1)


@pytest.fixture(scope="session")
def box() -> Box:
    return Box.new("Ward 7")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, gguf: Path, box: Box) -> Path:
    folder = tmp_path_factory.mktemp("publishers") / "pub"
    with Workspace.create(folder, "Demo publisher", PASSPHRASE, cost=CHEAP) as workspace:
        enrol(workspace, box.enrolment(), box.fingerprint)
        add_model(workspace, gguf, NewModel("clinical", "1.0.0", segment_chunks=1, part_segments=1), silent)
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "pub")


@pytest.fixture
def workspace(folder: Path) -> Iterator[Workspace]:
    with Workspace.open(folder, PASSPHRASE) as opened:
        yield opened
