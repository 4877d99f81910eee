"""The source archive is believed for its hash alone, and unpacking it writes regular files below one folder."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from lumen_box.errors import Damaged
from lumen_installer import sources


def archive(path: Path, members: dict[str, bytes | None]) -> Path:
    """A tar.gz of regular files; None makes a link to /etc/passwd."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            member.size = len(content or b"")
            tar.addfile(member, io.BytesIO(content or b""))
    return path


def test_only_the_wanted_parts_are_unpacked(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "a.tar.gz",
        {
            "pkg-1/vendor/llama.cpp/CMakeLists.txt": b"cmake",
            "pkg-1/vendor/llama.cpp/src/deep/a.cpp": b"code",
            "pkg-1/vendor/llama.cpp/models/huge.bin": b"not wanted",
            "pkg-1/vendor/llama.cpp/src/link.cpp": None,
            "pkg-1/pyproject.toml": b"elsewhere",
        },
    )
    sources.unpack(path, sources.LLAMA_CPP, sources.LLAMA_CPP_PARTS, tmp_path / "out")
    found = {
        file.relative_to(tmp_path / "out").as_posix() for file in (tmp_path / "out").rglob("*") if not file.is_dir()
    }
    assert found == {"CMakeLists.txt", "src/deep/a.cpp"}


@pytest.mark.parametrize(
    "name", ["pkg-1/vendor/llama.cpp/src/../../../../../evil", "pkg-1/vendor/llama.cpp/src/../../x"]
)
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "a.tar.gz", {name: b"x"})
    with pytest.raises(Damaged, match="leads out"):
        sources.unpack(path, sources.LLAMA_CPP, sources.LLAMA_CPP_PARTS, tmp_path / "out")
    assert not [file for file in tmp_path.rglob("*") if file.name in {"evil", "x"}]


def test_an_archive_with_another_hash_is_thrown_away(tmp_path: Path) -> None:
    sources.archive_path(tmp_path).write_bytes(b"not the archive")
    with pytest.raises(Damaged, match="not what it should be"):
        sources.fetch(tmp_path, Path(sys.executable), subprocess.DEVNULL)
    assert not sources.archive_path(tmp_path).exists()
