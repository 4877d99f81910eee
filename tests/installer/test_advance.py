"""Progress is what lies on the disk, whatever tool builds; the time left weighs the slow files more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lumen_installer import advance
from lumen_installer.advance import Progress, Run

GGML = [f"ggml/src/CMakeFiles/ggml.dir/{n}.c.o" for n in range(4)]
LLAMA = [f"src/CMakeFiles/llama.dir/{n}.cpp.o" for n in range(6)]
WEIGHT = 4 * 2.1 + 6 * 2.9


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
    assert advance.progress(tmp_path) == Progress(0, 0, None)


def test_files_that_the_library_does_not_need_are_not_counted(tree: Path) -> None:
    build(tree, "vendor/hash/CMakeFiles/hash.dir/sha.c.o")
    assert advance.progress(tree) == Progress(0, 10, None)


def test_at_first_the_measured_machine_is_believed(tree: Path) -> None:
    assert advance.progress(tree, Run(seconds=0, jobs=2)) == Progress(0, 10, round(WEIGHT / 2))
    assert advance.progress(tree, Run(seconds=0, jobs=8)) == Progress(0, 10, round(WEIGHT / 8))


def test_in_the_end_it_is_this_machine(tree: Path) -> None:
    build(tree, *GGML)
    seconds = 1_000_000.0  # for the four files of ggml: a very slow machine
    left = advance.progress(tree, Run(seconds, jobs=2)).seconds_left
    assert left is not None
    assert left == pytest.approx(seconds * (6 * 2.9) / (4 * 2.1 + 2 * advance.HEAD_START), rel=0.01)


def test_a_file_of_libllama_leaves_more_time_than_one_of_ggml(tree: Path) -> None:
    build(tree, *GGML[1:], *LLAMA)
    one_of_ggml = advance.progress(tree, Run(20, jobs=1)).seconds_left
    build(tree, GGML[0])
    (tree / LLAMA[0]).unlink()
    one_of_llama = advance.progress(tree, Run(20, jobs=1)).seconds_left
    assert one_of_ggml is not None and one_of_llama is not None
    assert one_of_llama > one_of_ggml > 0


def test_what_an_earlier_run_has_built_does_not_count_as_speed(tree: Path) -> None:
    build(tree, *GGML)
    before = advance.weight_built(tree)
    assert before == pytest.approx(4 * 2.1)
    fast = advance.progress(tree, Run(60, jobs=1)).seconds_left
    true = advance.progress(tree, Run(60, jobs=1, built_before=before)).seconds_left
    assert fast is not None and true is not None
    assert true > fast


def test_a_finished_tree_has_no_time_left(tree: Path) -> None:
    build(tree, *GGML, *LLAMA)
    assert advance.progress(tree, Run(30, jobs=2)) == Progress(10, 10, 0)


def test_a_compile_database_that_is_being_written_is_no_error(tree: Path) -> None:
    (tree / "compile_commands.json").write_text('[{"directory": "/x", "comm')
    assert advance.progress(tree) == Progress(0, 0, None)
