"""The lock: everything pinned with hashes, in agreement with what the project asks for, and with no address in it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from lumen_box.errors import Damaged
from lumen_installer import lock, recipe

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
# Which sections of the lock an install of the extra takes: its own and those that it builds on.
TAKES = {
    "client": (PROJECT["project"]["dependencies"], ["build", "client"]),
    "publisher": (EXTRAS["publisher"], ["build", "client", "publisher"]),
    "box": (EXTRAS["box"], ["build", "client", "publisher", "box", "engine"]),
    "dev": (EXTRAS["dev"], ["build", "client", "publisher", "box", "engine", "dev"]),
    "web": (EXTRAS["web"], ["build", "client", "publisher", "box", "engine", "dev", "web"]),
    "build": (PROJECT["dependency-groups"]["build"], ["build"]),
    "tools": (PROJECT["dependency-groups"]["tools"], ["tools"]),
}


def versions(sections: list[str]) -> dict[str, str]:
    pins = lock.read(LOCK)
    found = [pin for section in sections for pin in pins[section]]
    return {lock.name_of(pin): pin.split("==")[1].split()[0] for pin in found}


@pytest.mark.parametrize("extra", TAKES)
def test_what_the_project_asks_for_is_pinned_where_it_is_installed_from(extra: str) -> None:
    asked, sections = TAKES[extra]
    pinned = versions(sections)
    for requirement in map(Requirement, asked):
        if requirement.name != "lumen-box":
            assert pinned[requirement.name.lower()] in requirement.specifier, requirement


def test_every_pin_has_hashes_and_no_name_comes_twice() -> None:
    pins = [pin for section in lock.read(LOCK).values() for pin in section]
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", pin) for pin in pins)
    names = [lock.name_of(pin) for pin in pins]
    assert sorted(set(names)) == sorted(names)


def test_the_lock_names_no_registry() -> None:
    assert not re.search(r"://|index-url|find-links|file:", LOCK.read_text())


def test_the_recipe_and_the_lock_mean_the_same_archive() -> None:
    [pin] = lock.read(LOCK)["engine"]
    assert pin.startswith(f"{recipe.PACKAGE}=={recipe.VERSION} ")
    assert f"sha256:{recipe.SHA256}" in pin


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("# [dev]", "# [more]"),
        lambda text: text.replace("# [client]", "# ["),
        lambda text: "",
        lambda text: text + "#" * lock.MAX_BYTES,
    ],
    ids=["unknown section", "missing section", "empty", "too long"],
)
def test_a_lock_that_was_tampered_with_is_refused(tmp_path: Path, spoil: object) -> None:
    path = tmp_path / "requirements.lock"
    path.write_text(spoil(LOCK.read_text()))  # type: ignore[operator]
    with pytest.raises(Damaged):
        lock.read(path)


def test_pins_keep_their_markers_and_all_their_hashes() -> None:
    text = "a==1 ; python_version < '4' \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n# note\nB.c==2\n--option\n"
    first, second = lock.pins(text)
    assert first.splitlines()[0] == "a==1 ; python_version < '4' \\"
    assert first.count("--hash") == 2
    assert lock.name_of(second) == "b-c"
