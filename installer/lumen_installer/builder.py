"""The process that builds: ``python -m lumen_installer.builder FOLDER LOCK``.

It holds the folder's lock (descriptor LOCK), and so do the tools it starts, so that no second build begins while one
of them still runs. It stops, keeping every finished file, when it gets SIGTERM or when whoever started it is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType

from lumen_box import atomic
from lumen_box.errors import Interrupted, LumenError, NoSpace, NotFound

from . import advance, recipe, sources, state
from .state import Stage, State

CMAKE_AT_LEAST = (3, 21)
ENOUGH_TO_GO_ON = 64 * 1024**2  # less than this free after a failure: the disk was the reason
PAUSE = 0.2
NICENESS = 5  # whoever started it has something to show meanwhile
# A compiler's own variables would change the result without changing the key.
DROPPED = ("CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "CUDAFLAGS", "MAKEFLAGS", "MFLAGS", "CMAKE_GENERATOR")


@dataclass(frozen=True)
class Job:
    """What to build (``flags``), with whose pip and cmake (``python``), and where the result goes (``library``)."""

    python: str
    sources: str
    library: str
    flags: tuple[str, ...]
    about: dict[str, object]
    jobs: int

    def write(self, folder: Path) -> None:
        (folder / "job.json").write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, folder: Path) -> Job:
        fields = json.loads((folder / "job.json").read_text())
        return cls(**{**fields, "flags": tuple(fields["flags"])})


class Builder:
    """Carries out one job in ``folder``; ``lock`` is the descriptor of the folder's lock."""

    def __init__(self, folder: Path, lock: int) -> None:
        self._folder, self._lock = folder, lock
        self._job = Job.read(folder)
        self._generator = "Ninja" if shutil.which("ninja") else "Unix Makefiles"
        self._source = folder / "source"
        self._tree = folder / ("tree-ninja" if self._generator == "Ninja" else "tree-make")
        begun = state.read(folder)  # by whoever started this, and may be gone already
        owner = begun.owner if begun else os.getppid()
        self._state = State(Stage.WAITING, os.getpid(), owner, str(self._tree))
        self._state.write(folder)
        self._stopping = False

    def run(self) -> int:
        os.nice(NICENESS)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        try:
            self._build()
        except Interrupted:
            self._say(Stage.STOPPED)
            return Interrupted.exit_code
        except (LumenError, OSError, subprocess.SubprocessError) as error:
            self._say(Stage.FAILED, error=str(error), code=getattr(error, "code", LumenError.code))
            return 1
        return 0

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _say(self, stage: Stage, **changes: float | str) -> None:
        self._state = replace(self._state, stage=stage, **changes)  # type: ignore[arg-type]
        self._state.write(self._folder)
        print(f"== {stage}", flush=True)

    def _build(self) -> None:
        cmake = find_cmake(Path(self._job.python).parent)
        if not self._source.exists():
            self._get_sources()
        self._say(Stage.CONFIGURING)
        self._configure(cmake)
        self._say(Stage.COMPILING, began=time.time(), built_before=advance.weight_built(self._tree))
        self._tool(cmake, "--build", self._tree, "--target", recipe.TARGET, "--parallel", str(self._job.jobs))
        self._say(Stage.KEEPING)
        keep(self._source, self._tree, Path(self._job.library), self._job.about)
        for folder in (self._source, self._tree):
            shutil.rmtree(folder, ignore_errors=True)

    def _get_sources(self) -> None:
        self._say(Stage.FETCHING)
        archive = sources.fetch(Path(self._job.sources), Path(self._job.python), sys.stdout.fileno())
        self._say(Stage.UNPACKING)
        half = self._folder / "source.half"
        shutil.rmtree(half, ignore_errors=True)
        sources.unpack(archive, sources.LLAMA_CPP, sources.LLAMA_CPP_PARTS, half)
        half.rename(self._source)

    def _configure(self, cmake: str) -> None:
        if not advance.parts(self._tree):
            shutil.rmtree(self._tree, ignore_errors=True)  # interrupted while it was being configured
        self._tool(cmake, "-G", self._generator, "-S", self._source, "-B", self._tree, *self._job.flags)

    def _tool(self, *command: str | Path) -> None:
        """Runs a build tool to its end, or until this process is to stop.

        The tool has a session of its own, so that one signal reaches make and the compilers together: they remove
        the files they have only half written.
        """
        environment = {name: value for name, value in os.environ.items() if name not in DROPPED} | {"LC_ALL": "C"}
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, env=environment, pass_fds=(self._lock,), start_new_session=True
        )
        while process.poll() is None:
            if self._stopping or os.getppid() != self._state.owner:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGINT)
                process.wait()
                raise Interrupted("The build was stopped.", kept="What is built so far is kept.")
            time.sleep(PAUSE)
        if process.returncode != 0:
            raise self._failure(command)

    def _failure(self, command: tuple[str | Path, ...]) -> LumenError:
        kept = "What is built so far is kept."
        if shutil.disk_usage(self._folder).free < ENOUGH_TO_GO_ON:
            then = "Free a gigabyte and run the same command again."
            return NoSpace("The disk is full: the engine library could not be built.", kept=kept, then=then)
        return LumenError(f"`{Path(command[0]).name}` failed.", kept=kept)


def find_cmake(scripts: Path) -> str:
    """A cmake that is new enough: this machine's, else the one that pip put into the folder ``scripts``.

    Raises:
        NotFound: there is none.
    """
    for candidate in (shutil.which("cmake"), shutil.which("cmake", path=str(scripts))):
        if candidate and cmake_version(candidate) >= CMAKE_AT_LEAST:
            return candidate
    raise NotFound("There is no cmake of version 3.21 or newer.", then="Install cmake, or run `make engine`.")


def cmake_version(cmake: str) -> tuple[int, ...]:
    """(major, minor) of a cmake, (0, 0) if it does not run."""
    try:
        answer = subprocess.run([cmake, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
        return tuple(int(number) for number in answer.split()[2].split(".")[:2])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return (0, 0)


def keep(source: Path, tree: Path, library: Path, about: dict[str, object]) -> None:
    """Copies the finished libraries to ``library``, which appears whole or not at all."""
    disk = atomic.Disk()
    half = library.with_name(f".{library.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    atomic.make_dir(disk, half)
    for path in sorted((tree / "bin").glob("lib*.so*")):
        if path.is_symlink():
            (half / path.name).symlink_to(path.readlink())
        else:
            atomic.write_file(disk, half / path.name, path.read_bytes())
    atomic.write_file(disk, half / "LICENSE", (source / "LICENSE").read_bytes())
    atomic.write_file(disk, half / "about.json", json.dumps(about, indent=1).encode())
    atomic.publish(disk, half, library)


if __name__ == "__main__":
    sys.exit(Builder(Path(sys.argv[1]), int(sys.argv[2])).run())
