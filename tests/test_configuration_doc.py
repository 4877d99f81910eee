"""docs/configuration.md says of every setting what the code does: its name, its default, what is allowed."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lumen_box import config

TEXT = (Path(__file__).resolve().parent.parent / "docs/configuration.md").read_text()
ROW = re.compile(r"^\| `([a-z_.]+)` \| `(.*?)` \| (.*?) \| (.+) \|$", re.MULTILINE)
ROWS = {name: (default, allowed, meaning) for name, default, allowed, meaning in ROW.findall(TEXT)}


def every() -> Iterator[tuple[str, Any]]:
    """Name and default of every setting."""
    for section in dataclasses.fields(config.Settings):
        for setting in dataclasses.fields(getattr(config.Settings(), section.name)):
            yield f"{section.name}.{setting.name}", getattr(getattr(config.Settings(), section.name), setting.name)


def allowed(name: str, default: Any) -> str | None:
    """How the document writes what the code takes; None where only words can say it."""
    if isinstance(default, int):
        return "{} to {}".format(*config._RANGES.get(name, (0, 2**31 - 1)))
    return ", ".join(config._CHOICES[name]) if name in config._CHOICES else None


def test_every_setting_is_there_and_no_other() -> None:
    assert list(ROWS) == [name for name, _ in every()]


@pytest.mark.parametrize(("name", "default"), list(every()))
def test_default_and_range_are_the_codes(name: str, default: Any) -> None:
    said, range_said, meaning = ROWS[name]
    assert said == json.dumps(default)
    assert allowed(name, default) in (None, range_said)
    assert meaning.endswith(".")


def test_the_example_is_taken(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    path = tmp_path / "settings.toml"
    path.write_text(example)
    assert dataclasses.asdict(config.load(path))["engine"]["parallel"] == tomllib.loads(example)["engine"]["parallel"]
