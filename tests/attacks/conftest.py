"""One serving box for each module of attacks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.scene import Scene

from .serving import Serving, add_talker, serving


@pytest.fixture(scope="module")
def box(_scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A box with a model that talks without end, until its context is full."""
    scene = _scene.copy(tmp_path_factory.mktemp("attacks") / "scene")
    add_talker(scene)
    scene.install(wanted="clinical@2.0.0")
    with serving(scene) as running:
        running.shell("model", "activate", "clinical@2.0.0")
        yield running
