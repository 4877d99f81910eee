"""What every test shares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest_plugins = ["tests.support.guard"]

if TYPE_CHECKING:
    from tests.support.scene import Scene


@pytest.fixture(scope="session")
def _scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    from tests.support.scene import make_scene

    return make_scene(tmp_path_factory.mktemp("scene") / "scene")


@pytest.fixture
def scene(_scene: Scene, tmp_path: Path) -> Scene:
    """A publisher, a box that trusts it, and a medium: a copy for this test alone."""
    return _scene.copy(tmp_path / "scene")
