"""Builds the engine library in the background and makes an environment use it.

A build belongs to its folder in the cache, not to the process that started it: :func:`start_background_build` joins
one that is under way, :meth:`Build.wait` takes over one whose process died, and what is built is kept for the next
time. A finished library is never built again for the same recipe.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

import lumen_box
from lumen_box.errors import LumenError, by_code

from . import advance, place, recipe, state
from .advance import Progress, Run
from .builder import Job
from .place import Cache
from .state import Stage

PAUSE = 0.2
BYTES_A_JOB = 800 * 1024**2  # what one compiler needs for llama.cpp's largest files
STOPPING = 20.0  # seconds that a build has to stop after it was told to
TAKEOVERS = 3  # a builder that vanished is started again so often, then something is wrong
NOT_YET = 0  # the pid of a builder that has not written its own state


class Build:
    """One build, watched from here; as a context manager it stops a build of its own that is left unfinished.

    ``library`` is where the result is or will be, ``log`` holds every word of the tools.
    """

    def __init__(self, folder: Path, library: Path, prefix: Path, job: Job) -> None:
        self.library, self.log = library, folder / "log"
        self._folder, self._prefix, self._job = folder, prefix, job
        self._takeovers = 0

    def __enter__(self) -> Build:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def start(self) -> None:
        """Begins it, joins one that is under way, or links the environment to a result that is there already."""
        if self.finished:
            place.link_engine(self._prefix, self.library)
        else:
            _begin(self._folder, self._job)

    @property
    def finished(self) -> bool:
        return self.library.exists()

    @property
    def stage(self) -> str:
        """What it is doing, in words for a person."""
        now = state.read(self._folder)
        return "ready" if self.finished else str(now.stage if now else Stage.WAITING)

    def progress(self) -> Progress:
        """Files built, files in all (0 until known) and seconds left (None until known)."""
        now = state.read(self._folder)
        if now is None or self.finished:
            return Progress(0, 0, 0 if self.finished else None)
        if now.stage is not Stage.COMPILING:
            return advance.progress(Path(now.tree))
        return advance.progress(Path(now.tree), Run(time.time() - now.began, self._job.jobs, now.built_before))

    def wait(self, report: Callable[[Progress], None] | None = None) -> Path:
        """Returns the folder of the finished library once the environment is linked to it.

        Args:
            report: called a few times a second while it lasts.

        Raises:
            LumenError: the build failed; the sentence names the log.
            NoSpace: the disk was full.
        """
        while not self.finished:
            if _is_free(self._folder) and not self.finished:
                self._go_on()
            if report:
                report(self.progress())
            time.sleep(PAUSE)
        place.link_engine(self._prefix, self.library)
        return self.library

    def _go_on(self) -> None:
        """Nobody builds and there is no result: says why it failed, or takes over from a process that is gone."""
        last = state.read(self._folder)
        if last and last.stage is Stage.FAILED:
            kind = by_code().get(last.code, LumenError)
            raise kind(f"The engine library could not be built. {last.error}", then=f"See {self.log}.")
        if self._takeovers >= TAKEOVERS:
            raise LumenError(
                "The engine library could not be built: its builder stops at once.", then=f"See {self.log}."
            )
        self._takeovers += _begin(self._folder, self._job)

    def cancel(self) -> None:
        """Stops the build if this process started it, keeping every finished file; otherwise leaves it alone."""
        until = time.monotonic() + STOPPING
        while time.monotonic() < until:
            now = state.read(self._folder)
            if now is None or now.owner != os.getpid() or _is_free(self._folder):
                return
            if now.pid != NOT_YET:
                _stop(now.pid)
            time.sleep(PAUSE)


def start_background_build(
    *, prefix: Path | None = None, python: Path | None = None, cache: Cache | None = None, jobs: int | None = None
) -> Build:
    """Starts building the engine library unless it is there or being built; returns at once, see :func:`build_for`."""
    build = build_for(prefix=prefix, python=python, cache=cache, jobs=jobs)
    build.start()
    return build


def build_for(
    *, prefix: Path | None = None, python: Path | None = None, cache: Cache | None = None, jobs: int | None = None
) -> Build:
    """The build of the engine library for this machine, which may be finished, under way, or not begun.

    Args:
        prefix: the environment that will use it (this one).
        python: the interpreter whose pip gets the sources, and beside which pip's cmake may lie.
        cache: where builds and libraries are kept (the user's cache folder).
        jobs: compilers at a time (as many as there are processors and memory for).

    Raises:
        NotFound: there is no compiler.
    """
    prefix, cache = prefix or Path(sys.prefix), cache or place.user_cache()
    how = recipe.for_this_machine()
    folder, library = cache.build(how.key), cache.engine(how.key)
    about: dict[str, object] = asdict(how)
    job = Job(
        python=str(python or prefix / "bin" / "python"),
        sources=str(cache.sources),
        library=str(library),
        flags=how.flags,
        about=about,
        jobs=jobs or _jobs(),
    )
    return Build(folder, library, prefix, job)


def _begin(folder: Path, job: Job) -> bool:
    """Starts a builder that inherits the folder's lock; False if another one holds it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(folder / "lock", "wb") as lock, open(folder / "log", "ab") as log:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        job.write(folder)
        state.State(Stage.WAITING, NOT_YET, os.getpid()).write(folder)
        subprocess.Popen(
            [sys.executable, "-m", "lumen_installer.builder", folder, str(lock.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | {"PYTHONPATH": _import_path()},
            pass_fds=(lock.fileno(),),
            start_new_session=True,  # Ctrl-C in the terminal is for whoever watches, who then cancels
        )
    return True


def _import_path() -> str:
    packages = (Path(lumen_box.__file__), Path(__file__))
    return os.pathsep.join(str(package.resolve().parent.parent) for package in packages)


def _is_free(folder: Path) -> bool:
    with open(folder / "lock", "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _stop(child: int) -> None:
    """Tells a child to stop; one that has ended already is only buried, so its number is never somebody else's."""
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(child, os.WNOHANG) == (0, 0):
            os.kill(child, signal.SIGTERM)


def _jobs() -> int:
    """As many compilers at a time as processors and memory allow."""
    processors = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    return max(1, min(processors, memory // BYTES_A_JOB))
