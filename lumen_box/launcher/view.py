"""Which files a program sees: worked out by its starter, carried out by the stage.

Shown are the interpreter, the site-packages, the package folders that the module needs (never what lies beside them: a
home may lie in the same checkout), the system's libraries, and what the program names. A program with devices also
sees ``/sys``, where drivers look for theirs. Paths are real paths.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import lumen_box
from lumen_box.errors import NotFound, UsageError
from lumen_box.launcher.program import Program

_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/etc/ld.so.cache", "/etc/alternatives")
_FOR_DRIVERS = ("/sys",)
_SITE = ("site-packages", "dist-packages")


@dataclass(frozen=True)
class View:
    """Attributes: ``binds`` and ``devices`` are real paths, ``links`` (path, target), ``roots`` go on ``sys.path``."""

    binds: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    devices: tuple[str, ...]
    roots: tuple[str, ...]


def view_of(program: Program) -> View:
    """What ``program`` sees.

    Raises:
        NotFound: a path that the program names does not exist.
        UsageError: it names the root folder, or a folder of the kernel's.
    """
    packages = [Path(lumen_box.__path__[0]), *_package_of(program.module), *program.packages]
    sites = [Path(entry) for entry in sys.path if Path(entry).name in _SITE and Path(entry).is_dir()]
    prefixes = [Path(prefix) for prefix in (sys.base_prefix, sys.base_exec_prefix, sys.prefix)]
    system = [path for path in map(Path, (*_SYSTEM, *_FOR_DRIVERS * bool(program.devices))) if path.exists()]
    links = tuple((str(path), str(path.readlink())) for path in system if path.is_symlink())
    shown = [path for path in system if not path.is_symlink()]
    named = [_named(path) for path in (*program.packages, *program.readable)]
    return View(
        binds=_outermost([*shown, Path(sys.executable), *prefixes, *sites, *packages, *named]),
        links=links,
        devices=tuple(dict.fromkeys(str(_named(path, folder_of_devices=True)) for path in program.devices)),
        roots=tuple(dict.fromkeys(str(path.resolve()) for path in [*(p.parent for p in packages), *sites])),
    )


def _package_of(module: str) -> list[Path]:
    """The folder of the module's top-level package as the caller would import it, wherever that lies."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    locations = spec.submodule_search_locations if spec else None
    return [Path(location) for location in locations or ()]


def _named(path: Path, *, folder_of_devices: bool = False) -> Path:
    real = path.resolve()
    if not real.exists():
        raise NotFound(f"There is no {path} to show to a confined program.", kept="Nothing was started.")
    kernels = ("/proc", "/sys") if folder_of_devices else ("/proc", "/dev")
    if real == Path("/") or any(real == Path(top) for top in kernels):
        raise UsageError(f"{path} is too much to show to a confined program.", kept="Nothing was started.")
    return real


def _outermost(paths: list[Path]) -> tuple[str, ...]:
    """Real paths, none below another, since a folder is shown with all that is mounted in it."""
    kept: list[Path] = []
    for path in sorted({path.resolve() for path in paths}):
        if not any(path.is_relative_to(outer) for outer in kept):
            kept.append(path)
    return tuple(map(str, kept))
