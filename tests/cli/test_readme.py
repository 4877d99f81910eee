"""The README's session, typed as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import Shell, passphrase_file

README = Path(__file__).parents[2] / "README.md"
GUIDE = README.parent / "models" / "guide" / "guide.gguf"


def session() -> list[tuple[str, str]]:
    """Commands and what they printed."""
    block = README.read_text().split("<!-- session -->\n```\n")[1].split("\n```")[0]
    pieces = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(piece.split("\n", 1)[0], piece.split("\n", 1)[1] if "\n" in piece else "") for piece in pieces]


def pattern(shown: str) -> str:
    """What differs from run to run: fingerprints, codes, folders, the port."""
    text = re.escape(shown.strip())
    text = re.sub(r"(?:[a-z]+(?:\\ |\\\n|\n)+(?:\\ )*){31}[a-z]+", r"(?:[a-z]+\\s+){31}[a-z]+", text)
    text = re.sub(r"[0-9a-f]{64}", "[0-9a-f]{64}", text)
    text = re.sub(r"(?:[0-9A-Z]{4}\\-){10}[0-9A-Z]{4}", "(?:[0-9A-Z]{4}-){10}[0-9A-Z]{4}", text)
    text = text.replace("/demo/", r"\S*/").replace("127\\.0\\.0\\.1:8180", r"127\.0\.0\.1:\d+")
    return re.sub(r"\\?\n?…$", r"[\\s\\S]*", text)


def test_the_session_in_the_readme(tmp_path: Path) -> None:
    shutil.copyfile(GUIDE, tmp_path / "guide.gguf")
    passphrase_file(tmp_path / "p", b"the publisher's")
    passphrase_file(tmp_path / "q", b"the box's")
    shell = Shell(tmp_path)
    words: dict[str, str] = {}
    commands = session()
    assert len(commands) == 14
    try:
        for command, shown in commands:
            if command.startswith("export "):
                pairs = (pair.split("=", 1) for pair in shlex.split(command)[1:])
                shell.environment.update({name: value.replace("$PWD", str(tmp_path)) for name, value in pairs})
                continue
            for said, full in words.items():
                command = command.replace(said, full)
            typed = shlex.split(command)[1:] + (["--port", "0"] if "serve" in command else [])
            result = shell(*typed)
            printed = result.out.strip() + ("\n\n" + result.err.strip() if result.err.strip() else "")
            assert re.fullmatch(pattern(shown), printed.strip()) or re.fullmatch(
                pattern(shown), (result.err.strip() + "\n" + result.out.strip()).strip()
            ), f"{command} printed:\n{printed}\ninstead of:\n{shown}"
            found = re.search(r"(?:[a-z]+\s+){31}[a-z]+", result.out + result.err)
            if found and "root" in command:
                words["jazzy postcard taxi labyrinth … drill salmon"] = found.group()
            elif found and "init" in command:
                words["robot flamingo smoke general … hobby economy"] = found.group()
    finally:
        shell("stop", code=None)


@pytest.mark.parametrize(
    "command", re.findall(r"^\| [^|]+ \| `(?:cat note.txt \\\| )?(lumen-box [^`]+)`", README.read_text(), re.M)
)
def test_every_everyday_command_exists(command: str, tmp_path: Path) -> None:
    words = [word for word in shlex.split(command)[1:] if not word.startswith("-")]
    for size in range(len(words), 0, -1):
        help_text = subprocess.run(
            [sys.executable, "-m", "lumen_box.cli.main", *words[:size], "--help"], capture_output=True, text=True
        )
        if help_text.returncode == 0 and "Usage" in help_text.stdout:
            options = [word for word in shlex.split(command) if word.startswith("--")]
            assert all(option in help_text.stdout for option in options)
            return
    raise AssertionError(command)
