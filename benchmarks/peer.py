"""llama-server as the peer: built from the pinned source archive with the flags of the box's own library.

It is built when it is first needed and kept in the user's cache folder, under a key of everything that can change it.
Nothing is fetched but the source archive, which is there wherever the engine was built: no browser page, no TLS. What
is built stays if the build is interrupted, and the next one goes on from there.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lumen_box import atomic
from lumen_box.errors import LumenError
from lumen_installer import recipe, sources
from lumen_installer.builder import DROPPED, find_cmake
from lumen_installer.place import Cache, user_cache

TARGET: Final = "llama-server"
PARTS: Final = (*sources.LLAMA_CPP_PARTS, "common", "tools", "scripts")
SWITCHED: Final = {
    "LLAMA_BUILD_COMMON": "ON",
    "LLAMA_BUILD_TOOLS": "ON",
    "LLAMA_BUILD_SERVER": "ON",
    # The browser page would be downloaded.
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
}
NICENESS: Final = 10


def how() -> recipe.Recipe:
    """The recipe of the box's library, with what llama-server needs switched on and nothing else changed."""
    ours = recipe.for_this_machine()
    kept = tuple(flag for flag in ours.flags if _name(flag) not in SWITCHED)
    return dataclasses.replace(ours, flags=kept + tuple(f"-D{name}={value}" for name, value in SWITCHED.items()))


def _name(flag: str) -> str:
    return flag.removeprefix("-D").partition("=")[0]


def executable(cache: Cache | None = None) -> Path:
    """llama-server, with its libraries beside it; built now, with progress on stderr, where it is not there yet.

    Raises:
        NotFound: there is no compiler or no cmake.
        LumenError: the build failed; what the tools said is on stderr.
    """
    cache = cache or user_cache()
    wanted = how()
    kept = cache.root / "peer" / wanted.key
    if not kept.exists():
        with _alone(cache.build(f"peer-{wanted.key}")) as folder:
            if not kept.exists():
                _build(cache, folder, wanted)
                _keep(folder / "tree", kept)
        shutil.rmtree(folder, ignore_errors=True)
    return kept / TARGET


@contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(folder / "lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _build(cache: Cache, folder: Path, wanted: recipe.Recipe) -> None:
    _say(f"Building {TARGET} once, for comparison: some minutes. It is kept in {cache.root}.")
    source, tree = folder / "source", folder / "tree"
    if not source.exists():
        half = folder / "source.half"
        shutil.rmtree(half, ignore_errors=True)
        archive = sources.fetch(cache.sources, Path(sys.executable), sys.stderr.fileno())
        sources.unpack(archive, sources.LLAMA_CPP, PARTS, half)
        half.rename(source)
    cmake = find_cmake(Path(sys.executable).parent)
    generator = ["-G", "Ninja"] if shutil.which("ninja") else ["-G", "Unix Makefiles"]
    _tool(cmake, *generator, "-S", str(source), "-B", str(tree), *wanted.flags)
    jobs = str(len(os.sched_getaffinity(0)))
    _tool(cmake, "--build", str(tree), "--target", TARGET, "--parallel", jobs)


def _tool(*command: str) -> None:
    """Runs a build tool; Ctrl-C reaches it as it reaches this process."""
    environment = {name: value for name, value in os.environ.items() if name not in DROPPED} | {"LC_ALL": "C"}
    words = ["nice", "-n", str(NICENESS), *command]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=environment)
    if done.returncode:
        raise LumenError(f"`{Path(command[0]).name}` failed.", kept="What is built so far is kept.")


def _keep(tree: Path, kept: Path) -> None:
    """The program and its libraries in one folder, which appears whole or not at all."""
    half = kept.with_name(f".{kept.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True, mode=0o700)
    for path in (tree / "bin" / TARGET, *(tree / "bin").glob("lib*.so*")):
        shutil.copy2(path, half / path.name, follow_symlinks=False)
    atomic.publish(atomic.Disk(), half, kept)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(executable())
