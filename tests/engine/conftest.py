"""Models that several tests only read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lumen_box.engine import library

# llama-cpp-python reads this when it is imported, which some of the test modules do.
os.environ.setdefault(library.VARIABLE, str(library.find(os.environ)))

from tests.engine.support import encrypt
from tests.support.tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model in the clear: what the box itself never has."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf", context=2048)


@pytest.fixture(scope="session")
def stored(gguf: Path) -> Path:
    """The same model as an encrypted object."""
    return encrypt(gguf)
