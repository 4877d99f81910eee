"""Writes ``requirements.lock`` anew: ``python -m lumen_installer.relock`` (``make lock``).

uv resolves pyproject.toml for every platform and every Python from the oldest that is supported; what comes out
holds versions and hashes, and no address of any registry.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from lumen_box.errors import LumenError

from . import lock

# What each section adds to those before it, in uv's words.
ADDS = {
    "build": ("--group", "build"),
    "client": ("pyproject.toml",),
    "publisher": ("--extra", "publisher"),
    "box": ("--extra", "box"),
    "engine": (),
    "dev": ("--extra", "dev"),
    "tools": ("--group", "tools"),
    "web": ("--extra", "web"),
}
ENGINE = "llama-cpp-python"
HEAD = """\
# Every package that Lumen Box is run and tested with, pinned by version and by the hashes of its files.
# Written by `make lock`; do not edit. The extra `train` is not here: its torch is another build on each machine.
"""


def _compile(python: str, oldest: str, words: tuple[str, ...]) -> list[str]:
    command = [python, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", oldest]
    # One version for every Python: a box and the machine that fills its medium must agree.
    command += ["--fork-strategy", "fewest", "--no-header", "--no-annotate"]
    command += ["--no-emit-index-url", "--no-emit-find-links", *words]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if answer.returncode != 0:
        raise LumenError("uv could not resolve the dependencies.", kept="The lock file is as it was.")
    return lock.pins(answer.stdout)


def resolve(python: str, oldest: str) -> dict[str, list[str]]:
    """The pins of each section, resolved together, so that every subset agrees with the whole."""
    whole = _compile(python, oldest, ("--generate-hashes", *(word for words in ADDS.values() for word in words)))
    by_name = {lock.name_of(pin): pin for pin in whole}
    sections: dict[str, list[str]] = {}
    so_far: tuple[str, ...] = ()
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join(pin.split("\\")[0] for pin in whole))
        constraints.flush()
        for section, words in ADDS.items():
            so_far += words
            names = {lock.name_of(pin) for pin in _compile(python, oldest, (*so_far, "-c", constraints.name))}
            if section == "box":
                names.discard(ENGINE)
            sections[section] = [by_name.pop(name) for name in sorted(names) if name in by_name]
    return sections


def main(root: Path, oldest: str) -> None:
    sections = resolve(sys.executable, oldest)
    parts = [HEAD]
    for name, purpose in lock.SECTIONS.items():
        parts += [f"\n# [{name}] {purpose}\n", "".join(f"{pin}\n" for pin in sections[name])]
    (root / "requirements.lock").write_text("".join(parts))


if __name__ == "__main__":
    main(Path.cwd(), "3.11")
