"""Settings: what is not known or makes no sense is refused, never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from lumen_box.config import Settings, load
from lumen_box.errors import UsageError


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert load(tmp_path / "settings.toml") == Settings()


def test_what_is_set_is_taken(tmp_path: Path) -> None:
    settings = load(write(tmp_path, "[gateway]\nport = 9000\n[engine]\ngpu_layers = -1\n"))
    assert (settings.gateway.port, settings.engine.gpu_layers) == (9000, -1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[gateway]\nprot = 1\n", "no setting gateway.prot"),
        ("[gateways]\n", "no setting gateways"),
        ("gateway = 1\n", "not a table"),
        ('[gateway]\nport = "8180"\n', "not of type int"),
        ("[gateway]\nport = true\n", "not of type int"),
        ("[gateway]\nport = 65536\n", "between 0 and 65535"),
        ("[gateway]\nport = -1\n", "between 0 and 65535"),
        ("[gateway]\nbody_bytes = 0\n", "between 1024"),
        ("[gateway]\nqueue = -1\n", "between 1"),
        ("[engine]\ncontext = -1\n", "between 0"),
        ("[engine]\nparallel = 257\n", "between 0 and 256"),
        ("[engine]\ncache_mib = -2\n", "between -1"),
        ('[engine]\nkv_type = "f32"\n', "none of auto, f16, q8_0"),
        ('[engine]\nflash_attention = ""\n', "none of auto, on, off"),
        ("[engine]\nflash_attention = true\n", "not of type str"),
        ('[engine]\nsandbox = "none"\n', "none of best, required"),
        ("[engine]\ngpu_layers = -2\n", "between -1"),
        ('[peers]\n"1000" = "auditor"\n', "no setting peers"),
        ("[gateway", "not usable"),
        ("\xff", "not usable"),
        ("#" * 70_000, "larger than"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=says) as refused:
        load(path)
    assert refused.value.exit_code == 2
