"""Gets the pinned source archive through pip and unpacks the part of it that is built.

The archive is believed because of its SHA-256, which is written in the recipe, never because of where it came from.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from lumen_box.errors import Damaged, LumenError

from . import recipe

LLAMA_CPP = "vendor/llama.cpp"
LLAMA_CPP_PARTS = ("CMakeLists.txt", "LICENSE", "licenses", "cmake", "ggml", "include", "src", "vendor")
PYTHON_PARTS = ("CMakeLists.txt", "LICENSE.md", "README.md", "pyproject.toml", "llama_cpp")


def archive_path(folder: Path) -> Path:
    return folder / f"{recipe.PACKAGE.replace('-', '_')}-{recipe.VERSION}.tar.gz"


def fetch(folder: Path, python: Path, log: IO[bytes] | int) -> Path:
    """The archive in ``folder``, downloaded by the pip of ``python`` unless it is there already.

    Raises:
        LumenError: pip could not get it; its own words are in ``log``.
        Damaged: what is there is not the archive that the recipe names.
    """
    archive = archive_path(folder)
    with _one_at_a_time(folder):
        if not archive.exists():
            _download(archive, python, log)
    with open(archive, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != recipe.SHA256:
        archive.unlink()
        raise Damaged(f"{archive.name} is not what it should be; it has been removed.", then="Run the command again.")
    return archive


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(folder / "lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(archive: Path, python: Path, log: IO[bytes] | int) -> None:
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".fetch-") as scratch:
        wanted = Path(scratch, "wanted.txt")
        wanted.write_text(f"{recipe.PACKAGE}=={recipe.VERSION} --hash=sha256:{recipe.SHA256}\n")
        command: list[str | Path] = [python, "-m", "pip", "download", "--no-deps", "--require-hashes"]
        command += ["--no-binary", recipe.PACKAGE]
        # Without isolation pip builds no environment of its own just to read the archive's metadata.
        command += ["--no-build-isolation", "--progress-bar", "off", "--dest", scratch, "--requirement", wanted]
        if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode != 0:
            raise LumenError(
                f"pip could not download the sources of {recipe.PACKAGE} {recipe.VERSION}.",
                then="See the log, put the network right, and run the same command again.",
            )
        Path(scratch, archive.name).replace(archive)


def unpack(archive: Path, prefix: str, parts: tuple[str, ...], target: Path) -> None:
    """Unpacks ``parts`` of the folder ``prefix`` of the archive into ``target``: regular files only.

    Raises:
        Damaged: a name in the archive leads out of ``target``.
    """
    target.mkdir(parents=True)
    with tarfile.open(archive, "r|gz") as tar:
        for member in tar:
            path = PurePosixPath(*PurePosixPath(member.name).parts[1:])
            if not member.isfile() or not path.is_relative_to(prefix):
                continue
            path = path.relative_to(prefix)
            if path.parts[0] in parts:
                _write(tar, member, _inside(target, path))


def _inside(target: Path, path: PurePosixPath) -> Path:
    if ".." in path.parts or path.is_absolute():
        raise Damaged(f"The archive has a file that leads out of it: {path}.", kept="Nothing was written there.")
    return target / path


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    content = tar.extractfile(member)
    if content is None:
        raise Damaged(f"The archive has no content for {member.name}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.read())
