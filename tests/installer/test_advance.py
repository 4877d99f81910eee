"""Progress is what lies on the disk, whatever tool builds; the time left weighs the slow files more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lumen_installer import advance
from lumen_installer.advance import Progress

GGML = [f"ggml/src/CMakeFiles/ggml.dir/{n}.c.o" for n in range(4)]
LLAMA = [f"src/CMakeFiles/llama.dir/{n}.cpp.o" for n in range(6)]
WEIGHT = 4 * 3.0 + 6 * 4.2


@pytest.fixture(params=["one folder", "a folder a target"])
def tree(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """As Ninja's and as make's generator write it: the object's name is relative to the command's folder."""
    objects = [*GGML, *LLAMA, "vendor/hash/CMakeFiles/hash.dir/sha.c.o"]
    entries = []
    for name in objects:
        folder = tmp_path if request.param == "one folder" else tmp_path / name.split("CMakeFiles")[0]
        output = (tmp_path / name).relative_to(folder)
        entries.append({"directory": str(folder), "command": f"cc -O3 -o {output} -c x.c", "file": "x.c"})
    (tmp_path / "compile_commands.json").write_text(json.dumps(entries))
    return tmp_path


def build(tree: Path, *names: str) -> None:
    for name in names:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()


def test_a_tree_that_is_not_configured_has_no_total(tmp_path: Path) -> None:
    assert advance.progress(tmp_path, elapsed=5, built_before=0) == Progress(0, 0, None)


def test_files_that_the_library_does_not_need_are_not_counted(tree: Path) -> None:
    build(tree, "vendor/hash/CMakeFiles/hash.dir/sha.c.o")
    assert advance.progress(tree, elapsed=5, built_before=0) == Progress(0, 10, None)


def test_the_time_left_follows_the_weight_that_is_left(tree: Path) -> None:
    build(tree, *GGML)
    assert advance.progress(tree, elapsed=12, built_before=0) == Progress(4, 10, round(6 * 4.2))


def test_what_an_earlier_run_has_built_does_not_count_as_speed(tree: Path) -> None:
    build(tree, *GGML)
    before = advance.weight_built(tree)
    assert before == 12.0
    assert advance.progress(tree, elapsed=60, built_before=before) == Progress(4, 10, None)
    build(tree, LLAMA[0])
    assert advance.progress(tree, elapsed=8.4, built_before=before) == Progress(5, 10, round(5 * 4.2 * 2))


def test_a_finished_tree_has_no_time_left(tree: Path) -> None:
    build(tree, *GGML, *LLAMA)
    assert advance.progress(tree, elapsed=WEIGHT, built_before=0) == Progress(10, 10, 0)


def test_a_compile_database_that_is_being_written_is_no_error(tree: Path) -> None:
    (tree / "compile_commands.json").write_text('[{"directory": "/x", "comm')
    assert advance.progress(tree, elapsed=5, built_before=0) == Progress(0, 0, None)
