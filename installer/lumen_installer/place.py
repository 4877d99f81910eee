"""Where the installer keeps things: below the user's cache folder, shared by every checkout.

    <cache>/
      sources/llama_cpp_python-<version>.tar.gz
      wheels/llama_cpp_python-<version>-….whl     the Python package without its native part
      build/<key>/     lock, log, job.json, state.json, source/, tree-<generator>/   while a build is under way
      engine/<key>/    the finished libraries; complete whenever it exists

An environment uses a library through the link ``<prefix>/lib/lumen-box/engine``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .preflight import cache_folder


@dataclass(frozen=True)
class Cache:
    root: Path

    @property
    def sources(self) -> Path:
        return self.root / "sources"

    @property
    def wheels(self) -> Path:
        return self.root / "wheels"

    def build(self, key: str) -> Path:
        return self.root / "build" / key

    def engine(self, key: str) -> Path:
        return self.root / "engine" / key


def user_cache() -> Cache:
    return Cache(cache_folder())


def engine_link(prefix: Path) -> Path:
    return prefix / "lib" / "lumen-box" / "engine"


def link_engine(prefix: Path, library: Path) -> None:
    """Makes the environment at ``prefix`` use ``library``, in one step, whatever it used before."""
    link = engine_link(prefix)
    if link.is_symlink() and link.readlink() == library:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(".engine.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(library)
    fresh.replace(link)
