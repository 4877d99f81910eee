"""Who may import whom: the contracts of pyproject.toml, each shown to notice, and what an install of the base holds."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = [contract["name"] for contract in PROJECT["tool"]["importlinter"]["contracts"]]
PACKAGES = ("lumen_box", "ui/lumen_web", "ui/lumen_console", "ui/lumen_chat", "installer/lumen_installer")

# For each contract a module that breaks it: where it is planted, and what it imports.
PLANTED = {
    "Imports point down only": ("lumen_box/sealed", "lumen_box.vault"),
    "Trust decides over signed bytes: of what is above floor 0 it knows cryptography alone, and no network": (
        "lumen_box/trust",
        "socket",
    ),
    "The vault knows cryptography, and nothing of what its keys are for": ("lumen_box/vault", "lumen_box.trust"),
    "The engine is given a file and a key: it knows no vault, no trust, no database": (
        "lumen_box/engine",
        "lumen_box.database",
    ),
    "The log, the accounts and the catalogue know nothing of keys and bundles": ("lumen_box/audit", "lumen_box.bundle"),
    "Clients see the client, the schemas and the errors": ("ui/lumen_console", "lumen_box.usecases"),
    "Schemas need nothing but the standard library": ("lumen_box/schemas", "pydantic"),
    "llama.cpp is imported in the engine alone": ("lumen_box/usecases", "llama_cpp"),
    "No process but the engine's loads llama.cpp, on whatever path": ("lumen_box/api", "lumen_box.engine.worker"),
    "Cryptography lives in sealed": ("lumen_box/vault", "cryptography"),
    "TUF lives in trust": ("lumen_box/publisher", "tuf"),
    "Textual belongs to the console and the terminal chat": ("lumen_box/cli", "textual"),
    "Gradio belongs to the browser's chat": ("ui/lumen_chat", "gradio"),
    "The installer runs before anything is installed: floor 0 and the standard library": (
        "installer/lumen_installer",
        "lumen_box.vault",
    ),
    "Only the command line and the demo use the installer": ("lumen_box/engine", "lumen_installer"),
}


def verdicts(root: Path) -> dict[str, str]:
    """Each contract's verdict on the tree at ``root``: KEPT or BROKEN."""
    paths = os.pathsep.join(str(root / folder) for folder in ("", "ui", "installer"))
    answer = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": paths, "COLUMNS": "500"},
        capture_output=True,
        text=True,
    )
    return dict(re.findall(r"^(.+) (KEPT|BROKEN)$", answer.stdout, re.MULTILINE))


def copy_of_the_tree(target: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", target)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def test_every_contract_is_kept() -> None:
    assert verdicts(ROOT) == dict.fromkeys(CONTRACTS, "KEPT")


def test_every_contract_notices_what_it_forbids(tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path)
    for number, (folder, module) in enumerate(PLANTED.values()):
        (tree / folder / f"planted_{number}.py").write_text(f"import {module}\n")
    assert verdicts(tree) == dict.fromkeys(CONTRACTS, "BROKEN")


def test_a_module_that_has_no_floor_is_noticed(tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path)
    (tree / "lumen_box" / "attic.py").touch()
    assert verdicts(tree)["Imports point down only"] == "BROKEN"


@pytest.mark.parametrize("module", ["engine", "prepare", "builder", "lock", "preflight"])
def test_the_installer_needs_nothing_but_the_standard_library(module: str) -> None:
    code = f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'installer')]!r}; import lumen_installer.{module}"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def closure(requirements: list[str]) -> set[str]:
    """The distributions that an install of ``requirements`` takes on this machine."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        if requirement.marker and not any(
            requirement.marker.evaluate({"extra": extra}) for extra in {"", *requirement.extras}
        ):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name not in found:
            found.add(name)
            for needed in importlib.metadata.requires(name) or ():
                inner = Requirement(needed)
                inner.extras |= requirement.extras
                waiting.append(inner)
    return found


@pytest.fixture(scope="module")
def base_install(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with our own wheel, unpacked, and links to the base dependencies: what `pip install lumen-box` gives."""
    folder = tmp_path_factory.mktemp("base")
    build: list[str | Path] = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist"]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    for name in closure(PROJECT["project"]["dependencies"]):
        for top in {Path(file).parts[0] for file in importlib.metadata.files(name) or ()} - {"..", "__pycache__"}:
            (folder / "site" / top).symlink_to(Path(sysconfig.get_path("purelib"), top))
    return folder / "site"


def in_base(site: Path, code: str) -> subprocess.CompletedProcess[str]:
    program = f"import sys; sys.path.append({str(site)!r})\n{code}"
    return subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True)


def test_the_base_is_small(base_install: Path) -> None:
    """What the other tests of the base rest on: the folder really lacks what only a box or a publisher has."""
    for module in ("cryptography", "tuf", "fastapi", "llama_cpp", "numpy", "gradio", "sqlite_utils"):
        assert in_base(base_install, f"import {module}").returncode == 1
    assert importlib.util.find_spec("cryptography"), "it is here all the same"


def test_the_wheel_holds_the_five_packages_and_nothing_else(base_install: Path) -> None:
    ours = {path.name for path in base_install.iterdir() if not path.is_symlink()}
    version = PROJECT["project"]["version"]
    assert ours == {*(Path(package).name for package in PACKAGES), f"lumen_box-{version}.dist-info"}


CLIENT_SIDE = ["lumen_box.client", "lumen_box.schemas", "lumen_console", "lumen_chat", "lumen_installer"]


@pytest.mark.parametrize("package", CLIENT_SIDE)
def test_the_client_side_imports_with_the_base_alone(base_install: Path, package: str) -> None:
    code = f"""
import importlib, pkgutil
package = importlib.import_module({package!r})
assert package.__file__.startswith({str(base_install)!r}), package.__file__
for module in pkgutil.walk_packages(package.__path__, {package!r} + "."):
    importlib.import_module(module.name)
"""
    answer = in_base(base_install, code)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("words", [[], ["ask"], ["chat"], ["publisher"], ["model"], ["serve"], ["demo"]])
def test_help_works_with_the_base_alone(base_install: Path, words: list[str]) -> None:
    code = f"sys.argv = ['lumen-box', *{words!r}, '--help']\nfrom lumen_box.cli.main import main\nmain()"
    answer = in_base(base_install, code)
    assert answer.returncode == 0, answer.stderr
    assert "Usage: lumen-box" in answer.stdout


HEAVY = "cryptography tuf securesystemslib fastapi starlette uvicorn httpx llama_cpp numpy jinja2 sqlite_utils textual"


def test_help_loads_nothing_heavy() -> None:
    """Help has to come within a quarter of a second: what only a command needs is imported inside the command."""
    code = f"""
import sys
sys.argv = ["lumen-box", "--help"]
from lumen_box.cli.main import main
try:
    main()
except SystemExit:
    print(sorted(set({HEAVY!r}.split()) & set(sys.modules)), file=sys.stderr)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stderr.splitlines()[-1] == "[]"
