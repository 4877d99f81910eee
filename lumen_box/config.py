"""What an administrator may set in ``<home>/settings.toml``; every value has a default that is safe.

One frozen object, read once and passed down. A key or a type that is not known here is a ``UsageError``: a misspelt
limit must not silently be no limit.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from .errors import UsageError
from .paths import read_small

LARGEST_FILE = 64 * 1024

# Where not every number from 0 up makes sense.
_RANGES = {
    "gateway.port": (0, 65535),
    "gateway.queue": (1, 100_000),
    "gateway.body_bytes": (1024, 2**30),
    "engine.parallel": (0, 256),
    "engine.batch": (32, 65536),
    "engine.threads": (0, 1024),
    "engine.gpu_layers": (-1, 10_000),
    "engine.cache_mib": (-1, 2**31 - 1),
    "engine.idle_minutes": (0, 525_600),
}

# Where not every text makes sense.
_CHOICES = {
    "engine.kv_type": ("auto", "f16", "q8_0"),
    "engine.flash_attention": ("auto", "on", "off"),
    "engine.sandbox": ("best", "required"),
}


@dataclass(frozen=True)
class GatewaySettings:
    """Where the gateway listens, and how much it takes on at once."""

    host: str = "127.0.0.1"
    port: int = 8180  # 0 = any free port
    queue: int = 64  # requests that may wait for a place in the engine
    body_bytes: int = 8 * 1024 * 1024  # of one request


@dataclass(frozen=True)
class EngineSettings:
    """How models run. 0, -1 and ``auto`` mean: worked out from the model and the machine (``engine/layout.py``)."""

    parallel: int = 0  # sequences decoded at once; 0 = what memory allows, at most 32
    context: int = 0  # tokens of each sequence; 0 = what memory allows, at most what the model was made for
    batch: int = 512  # tokens of one step
    threads: int = 0  # 0 = as many as there are processors
    gpu_layers: int = -1  # -1 = as many as fit
    kv_type: str = "auto"  # of the KV cache: f16 or q8_0
    flash_attention: str = "auto"  # on or off
    cache_mib: int = -1  # RAM for the KV of conversations that rest; -1 = what memory allows, 0 = none
    memory_mib: int = 0  # that all models may take together; 0 = what the machine has
    idle_minutes: int = 0  # a model nobody has asked for so long may be unloaded for another one
    sandbox: str = "best"  # what must hold the engine: the best there is, or namespaces and filters required


@dataclass(frozen=True)
class VaultSettings:
    """How the box opens at boot. A systemd credential named ``lumen-box-key`` is used without being set here."""

    key_file: str = ""  # absolute path of a key file that has a slot


@dataclass(frozen=True)
class Settings:
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    vault: VaultSettings = field(default_factory=VaultSettings)


T = TypeVar("T")


def load(path: Path) -> Settings:
    """The settings in ``path``, or the defaults where there is no such file."""
    text = read_small(Path(os.path.realpath(path)), LARGEST_FILE)  # it may be a link to where settings are kept
    if text is None:
        return Settings()
    if len(text) > LARGEST_FILE:
        raise _wrong(path, f"it is larger than {LARGEST_FILE} bytes")
    try:
        tables = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise _wrong(path, str(error)) from error
    settings = Settings(
        gateway=_section(path, "gateway", GatewaySettings, tables.pop("gateway", {})),
        engine=_section(path, "engine", EngineSettings, tables.pop("engine", {})),
        vault=_section(path, "vault", VaultSettings, tables.pop("vault", {})),
    )
    return settings if not tables else _unknown(path, next(iter(tables)))


def _section(path: Path, name: str, kind: type[T], table: Any) -> T:
    if not isinstance(table, dict):
        raise _wrong(path, f"[{name}] is not a table")
    types = get_type_hints(kind)
    for key, value in table.items():
        if key not in types:
            _unknown(path, f"{name}.{key}")
        if type(value) is not types[key]:
            raise _wrong(path, f"{name}.{key} is not of type {types[key].__name__}")
        least, most = _RANGES.get(f"{name}.{key}", (0, 2**31 - 1))
        if type(value) is int and not least <= value <= most:
            raise _wrong(path, f"{name}.{key} is not between {least} and {most}")
        allowed = _CHOICES.get(f"{name}.{key}")
        if allowed and value not in allowed:
            raise _wrong(path, f"{name}.{key} is none of {', '.join(allowed)}")
    return dataclasses.replace(kind(), **table)  # type: ignore[type-var]


def _unknown(path: Path, key: str) -> Any:
    raise _wrong(path, f"there is no setting {key}")


def _wrong(path: Path, why: str) -> UsageError:
    return UsageError(f"{path.name} is not usable: {why}.", then="Correct it and start again.")
