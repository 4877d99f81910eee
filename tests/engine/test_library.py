"""Finding the engine library, or saying how to build it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lumen_box.engine.library import FILE, VARIABLE, find
from lumen_box.errors import NotFound


def build(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / FILE).touch()
    return folder


def test_the_variable_goes_before_the_installed_one_and_links_are_followed(tmp_path: Path) -> None:
    cached = build(tmp_path / "cache" / "key")
    (tmp_path / "lib" / "lumen-box").mkdir(parents=True)
    (tmp_path / "lib" / "lumen-box" / "engine").symlink_to(cached)
    assert find({}, tmp_path) == cached
    other = build(tmp_path / "other")
    assert find({VARIABLE: str(other)}, tmp_path) == other


@pytest.mark.parametrize("folder", ["nothing", "empty"])
def test_without_a_library_the_message_says_how_to_build_it(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match="make engine"):
        find({VARIABLE: str(tmp_path / folder)})
