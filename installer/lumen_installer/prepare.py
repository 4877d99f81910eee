"""Sets up ``.venv`` and the engine, then becomes the command: ``prepare [--with dev] [--engine HOW] [-- COMMAND …]``.

The order is by what takes longest: the engine's build needs only pip and a few build tools, so it starts before the
other packages are downloaded. A second run finds everything in place and takes a fraction of a second.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lumen_box.errors import Interrupted, LumenError

from . import builder, engine, lock, pip, place, recipe, sources
from .advance import Progress
from .screen import Screen

STAMP = ".lumen-box-prepared"
NO_NATIVE_BUILD = {"CMAKE_ARGS": "-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF", "MAKEFLAGS": ""}


@dataclass(frozen=True)
class Environment:
    """The environment of one checkout; ``sections`` are those of the lock that it holds, ``build`` apart."""

    checkout: Path
    sections: tuple[str, ...]
    screen: Screen

    @property
    def prefix(self) -> Path:
        return self.checkout / ".venv"

    @property
    def python(self) -> Path:
        return self.prefix / "bin" / "python"

    @functools.cached_property
    def build(self) -> engine.Build:
        return engine.build_for(prefix=self.prefix)

    @property
    def wanted(self) -> str:
        """Changes whenever a ready environment has to be looked at again."""
        files = (self.checkout / "requirements.lock", self.checkout / "pyproject.toml")
        words = [str(self.checkout), sys.version, *self.sections, *(file.read_text() for file in files)]
        return hashlib.sha256("\0".join(words).encode()).hexdigest()

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            return (self.prefix / STAMP).read_text() == self.wanted
        return False

    def prepare(self, *, with_engine: bool) -> None:
        """Makes it hold exactly what the lock says; where it is wanted, the engine's build goes on beside it."""
        pins = lock.read(self.checkout / "requirements.lock")
        self._make()
        first = pins["build"] + (pins["tools"] if not _has_cmake() else [])
        self._install("build tools", first)
        if with_engine:
            self.build.start()
        self._install("packages", [pin for section in self.sections for pin in pins[section]])
        self._install_bindings()
        self.screen.step("Installing Lumen Box itself")
        pip.run(self.python, ["install", "--no-deps", "--no-build-isolation", "--editable", str(self.checkout)])
        (self.prefix / STAMP).write_text(self.wanted)

    def _make(self) -> None:
        (self.prefix / STAMP).unlink(missing_ok=True)
        if self._has_this_python():
            return
        self.screen.step(f"Making {self.prefix}")
        command: list[str | Path] = [sys.executable, "-m", "venv", "--clear", self.prefix]
        if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode != 0:
            raise LumenError(f"Python could not make an environment in {self.prefix}.")

    def _has_this_python(self) -> bool:
        question: list[str | Path] = [self.python, "-c", "import sys, pip; print(sys.version)"]
        try:
            answer = subprocess.run(question, capture_output=True, text=True, timeout=60)
        except OSError:
            return False
        return answer.returncode == 0 and answer.stdout.rstrip("\n") == sys.version

    def _install(self, what: str, pins: Sequence[str]) -> None:
        self.screen.step(f"Installing {len(pins)} {what}, pinned with their hashes")
        pip.install_pins(
            self.python, pins, lambda count, package: self.screen.lasting(f"{what}: {count} of {len(pins)}, {package}")
        )

    def _install_bindings(self) -> None:
        """llama-cpp-python without its native part, made once for every checkout."""
        self.screen.step("Installing the bindings of llama.cpp (the library is built apart)")
        cache = place.user_cache()
        name = f"{recipe.PACKAGE}=={recipe.VERSION}"
        if not any(cache.wheels.glob(f"{recipe.PACKAGE.replace('-', '_')}-{recipe.VERSION}-*.whl")):
            archive = sources.fetch(cache.sources, self.python, sys.stderr.fileno())
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch, "bindings")
                sources.unpack(archive, ".", sources.PYTHON_PARTS, folder)
                make = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(cache.wheels), str(folder)]
                pip.run(self.python, make, extra=NO_NATIVE_BUILD)
        pip.run(self.python, ["install", "--no-deps", "--no-index", "--find-links", str(cache.wheels), name])


def _has_cmake() -> bool:
    found = shutil.which("cmake")
    return found is not None and builder.cmake_version(found) >= builder.CMAKE_AT_LEAST


def build_engine(environment: Environment) -> None:
    """Waits for the engine, showing how far it is; Ctrl-C keeps what is built."""
    screen, build = environment.screen, environment.build
    if not build.finished:
        screen.step(f"Building llama.cpp; every word of the compilers is in {build.log}")
    build.wait(lambda progress: screen.lasting(f"llama.cpp: {in_words(build.stage, progress)}"))


def in_words(stage: str, progress: Progress) -> str:
    """``compiling, 12 of 70 files, about 58 s left``"""
    words = [stage]
    if progress.total:
        words.append(f"{progress.done} of {progress.total} files")
    if progress.seconds_left is not None:
        words.append(f"about {progress.seconds_left} s left")
    return ", ".join(words)


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="prepare")
    parser.add_argument("--with", dest="extras", action="append", default=[], choices=("dev",))
    parser.add_argument("--engine", choices=("none", "start", "wait"), default="none")
    parser.add_argument("command", nargs="*")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Prepares the checkout in the current folder and runs the command from its environment."""
    asked = _arguments(words)
    os.environ.pop("PYTHONPATH", None)  # it led here, and is nothing for the processes that are started
    checkout = Path.cwd()
    environment = Environment(checkout, ("client", "publisher", "box", *asked.extras), Screen())
    try:
        if not environment.is_ready():
            environment.prepare(with_engine=asked.engine != "none")
        if asked.engine != "none":
            environment.build.start()
        if asked.engine == "wait":
            build_engine(environment)
    except KeyboardInterrupt:
        _stop_building(environment)
        error: LumenError = Interrupted("Stopped.", kept="What is downloaded and built is kept.")
    except LumenError as failure:
        _stop_building(environment)
        error = failure
    else:
        return _become(environment, asked.command)
    sys.stderr.write(f"\n{error}\n")
    return error.exit_code


def _stop_building(environment: Environment) -> None:
    with contextlib.suppress(LumenError):  # without a compiler there is no build to stop
        environment.build.cancel()


def _become(environment: Environment, command: Sequence[str]) -> int:
    """The same process goes on as the command, so that a build it has started stays its own."""
    if not command:
        return 0
    scripts = environment.prefix / "bin"
    os.environ["PATH"] = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    os.environ["VIRTUAL_ENV"] = str(environment.prefix)
    sys.stderr.flush()
    os.execv(scripts / command[0], [str(scripts / command[0]), *command[1:]])  # noqa: S606 - the command is the Makefile's


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
