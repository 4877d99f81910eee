"""What the command line says to somebody who has mistyped, come too early, or sits at a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cli import Shell, passphrase_file

PATIENCE = 60.0  # seconds


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["statsu"], 2, "Did you mean 'status'?\n           Usage: lumen-box"),
        (["status", "--home", "box"], 2, "--home goes before the command."),
        (["trust", "pin"], 2, "Missing argument 'ROOT.json'."),
        (["serve", "--port", "99999"], 2, "'--port'"),
        (["status"], 10, "No box was named"),
        (["--home", "box", "doctor"], 10, "There is no box in"),
        (["--home", "box", "init"], 12, "no terminal to ask on"),
        (["--home", "box", "init", "--passphrase-file", "nothing"], 2, "There is no passphrase file nothing."),
        (["--home", "box", "init", "--passphrase-file", "short"], 2, "is too short"),
        (["--home", "box", "init", "--key-file", "nothing"], 2, "The key file nothing cannot be read"),
        (["--home", "box", "init", "--key-file", "short"], 2, "A key file has 32 to 65536 bytes"),
        (["demo", "nothing.gguf"], 14, "There is no file nothing.gguf."),
        (["model", "remove", "clinical"], 2, "Say so with --yes."),
    ],
)
def test_a_mistake_is_named_with_what_to_do(tmp_path: Path, words: list[str], code: int, says: str) -> None:
    passphrase_file(tmp_path / "short", b"secret")
    result = Shell(tmp_path)(*words, code=code)
    assert result.out == ""
    assert result.err.startswith("lumen-box: ") and says in result.err
    assert not (tmp_path / "box").exists()


@pytest.mark.parametrize(
    "words", [["-h"], ["model", "-h"], ["model", "install", "-h"], ["publisher", "add-model", "-h"]]
)
def test_help_fits_a_terminal_and_cuts_nothing_off(tmp_path: Path, words: list[str]) -> None:
    lines = Shell(tmp_path, {"COLUMNS": "80"})(*words).out.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line.endswith("...") and "[ARGS]" not in line]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path, {"LUMEN_BOX_HOME": str(tmp_path / "box")})
    shell("init", "--passphrase-file", passphrase_file(tmp_path / "q", b"a box's passphrase"))
    return shell


def test_a_box_without_a_gateway_says_how_to_start_one_and_what_there_is_not_to_stop(shell: Shell) -> None:
    assert "stopped: `lumen-box serve --detach`" in shell("status").out
    assert "No gateway runs" in shell("doctor").out
    assert "nothing to stop" in shell("stop", code=30).err
    assert "sealed" in shell("lock", code=30).err
    assert "`lumen-box serve --detach`" in shell("chat", stdin="Hello\n", code=30).err


def test_a_gateway_that_starts_sealed_says_so_until_it_is_opened(shell: Shell, tmp_path: Path) -> None:
    try:
        assert "`lumen-box unlock`" in shell("serve", "--port", "0", "--detach").err
        assert "sealed: `lumen-box unlock` opens it" in shell("status").out
        assert "sealed" in shell("chat", stdin="Hello\n", code=12).err
        shell.environment["LUMEN_BOX_PASSPHRASE_FILE"] = str(tmp_path / "q")
        assert "recovery key" in shell("unlock", "--recovery", code=12).err, "not what the variable names"
        assert "The box is open." in shell("unlock").err
        assert "open already" in shell("unlock").err, "and no passphrase is asked for"
        assert "no model answers" in shell("status").out
        assert "No model answers here" in shell("chat", stdin="Hello\n", code=31).err
    finally:
        shell("stop", code=None)


class Terminal:
    """One command on a terminal of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        self.seen = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lumen_box.cli.main", *words],
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            preexec_fn=lambda: os.login_tty(0),
        )
        os.close(theirs)

    def expect(self, text: str) -> None:
        self._until(lambda: text in self.seen)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self) -> int:
        """The exit code; what was seen meanwhile is in ``seen``."""
        self._until(lambda: self._process.poll() is not None)
        os.close(self._ours)
        return self._process.returncode

    def _until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline, self.seen
            if select.select([self._ours], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self._ours, 4096).decode("utf-8", "replace")
                except OSError:  # its other end was closed
                    time.sleep(0.05)


def test_init_looks_for_a_box_before_it_asks_for_anything(shell: Shell) -> None:
    terminal = Terminal(shell.folder, "--home", "box", "init")
    assert terminal.end() == 2
    assert "There is a box in" in terminal.seen and "Passphrase" not in terminal.seen


@pytest.mark.parametrize(("key", "code", "says"), [("\x03", 130, "Interrupted."), ("\x04", 2, "Nothing was entered.")])
def test_leaving_a_prompt_is_answered(tmp_path: Path, key: str, code: int, says: str) -> None:
    terminal = Terminal(tmp_path, "--home", "box", "init")
    terminal.expect("Passphrase for the new box:")
    terminal.type(key)
    assert terminal.end() == code
    assert says in terminal.seen
    assert not (tmp_path / "box").exists()


def test_a_new_passphrase_is_asked_for_after_the_old_one_and_twice(shell: Shell) -> None:
    terminal = Terminal(shell.folder, "--home", "box", "key", "slot", "add", "passphrase")
    for prompt, typed in (
        ("Passphrase of the box: ", "a box's passphrase"),
        ("New passphrase: ", "another one, and long"),
        ("Once more: ", "another one, and longer"),
    ):
        terminal.expect(prompt)
        terminal.type(f"{typed}\n")
    assert terminal.end() == 2
    assert "The two passphrases differ." in terminal.seen and "another one" not in terminal.seen
    assert len(shell("key", "slot", "list", "--json").json["slots"]) == 2


def test_a_slot_is_removed_only_when_the_person_agrees(shell: Shell) -> None:
    identity = shell("key", "slot", "list", "--json").json["slots"][1]["id"]
    terminal = Terminal(shell.folder, "--home", "box", "key", "slot", "remove", identity)
    terminal.expect("[y/N]")
    terminal.type("n\n")
    assert terminal.end() == 2
    assert "It was not confirmed." in terminal.seen
    assert len(shell("key", "slot", "list", "--json").json["slots"]) == 2
