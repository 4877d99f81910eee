"""``lumen-box publisher`` as people and scripts use it: real processes, exit codes, stdout and stderr apart."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lumen_box.cli.publisher import app
from lumen_box.errors import LumenError, UsageError
from lumen_box.publisher.workspace import Workspace
from lumen_box.sizes import parse_size
from tests.support.tiny_model import write_tiny_model

from .people import PASSPHRASE, Box, content, read


@dataclass(frozen=True)
class Shell:
    """Runs the command in a folder of its own, with the passphrase in a file."""

    cwd: Path

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "lumen_box.cli.main", "publisher", *args],
            cwd=self.cwd,
            env={**os.environ, "LUMEN_PUBLISHER_PASSPHRASE_FILE": str(self.cwd / "p")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(
                signal.SIGINT, signal.SIG_DFL
            ),  # also where the tests run in the background
        )

    def fails(self, *args: str) -> tuple[int, str]:
        """Exit code and stderr of a command that prints nothing on stdout."""
        process = self.start(*args)
        out, err = process.communicate(timeout=60)
        assert out == ""
        assert "Traceback" not in err
        return process.returncode, err

    def __call__(self, *args: str) -> str:
        """Stdout of a command that succeeds."""
        process = self.start(*args)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "p").write_bytes(PASSPHRASE + b"\n")
    (tmp_path / "p").chmod(0o600)
    return Shell(tmp_path)


def test_a_whole_session(shell: Shell, box: Box, gguf: Path, tmp_path: Path) -> None:
    assert "Demo publisher" in shell("init", "pub", "--name", "Demo publisher")
    root = json.loads(shell("root", "pub", "--output", "root.json", "--json"))
    assert len(root["fingerprint"]) == 64 and len(root["words"].split()) == 32
    (tmp_path / "box.json").write_bytes(box.enrolment())
    enrolled = json.loads(shell("enrol", "pub", "box.json", "--fingerprint", box.fingerprint.words, "--json"))
    assert enrolled["box"] == box.fingerprint.hex
    sizes = ("--segment-size", "2", "--part-size", "1")
    (tmp_path / "c.md").write_text("# Clinical\n")
    added = shell("add-model", "pub", str(gguf), "--name", "clinical", "--version", "1.0.0", *sizes, "--card", "c.md")
    assert "clinical@1.0.0" in added
    exported = json.loads(shell("export", "pub", "usb", "--json"))
    assert exported == {"media": [{"path": str(tmp_path / "usb"), "number": 1, "of": 1}]}
    assert box.model(tmp_path / "usb", (tmp_path / "root.json").read_bytes()) == gguf.read_bytes()
    accepted = read(tmp_path / "usb", (tmp_path / "root.json").read_bytes())
    assert accepted.publisher_id == root["publisher"]
    for path in (tmp_path / "pub", tmp_path / "root.json", *(tmp_path / "pub").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_the_other_commands(shell: Shell, folder: Path, box: Box) -> None:
    described = json.loads(
        shell(
            "add-model",
            "pub",
            "--same-as",
            "clinical@1.0.0",
            "--name",
            "clinical",
            "--version",
            "1.0.1",
            "--release",
            "7",
            "--reasoning",
            "[",
            "]",
            "--json",
        )
    )
    assert (described["release"], described["reasoning"], described["parts"]) == (7, ["[", "]"], 4)
    assert json.loads(shell("rotate", "root", "pub", "--json"))["version"] == 2
    revoked = json.loads(shell("revoke", "pub", "clinical@1.0.0", "--stop", "--reason", "Old.", "--json"))
    assert revoked == {"revoked": "clinical@1.0.0", "stop": True}
    media = json.loads(shell("export", "pub", "many", "--medium-size", "150kB", "--box", "Ward 7", "--json"))["media"]
    assert [item["number"] for item in media] == list(range(1, media[0]["of"] + 1)) and len(media) > 1


def test_what_a_publisher_has_is_shown_with_what_it_took_back(shell: Shell, folder: Path, box: Box) -> None:
    shell("add-model", "pub", "--same-as", "clinical@1.0.0", "--name", "clinical", "--version", "1.0.1")
    shell("revoke", "pub", "clinical@1.0.0", "--reason", "Wrong doses.")
    record = json.loads(shell("show", "pub", "--json"))
    assert [(model["version"], model["revoked"]) for model in record["models"]] == [
        ("1.0.0", "Wrong doses."),
        ("1.0.1", None),
    ]
    assert [(entry["name"], entry["id"]) for entry in record["boxes"]] == [("Ward 7", box.fingerprint.hex)]
    shell("revoke", "pub", "--box", "Ward 7")
    said = shell("show", "pub")
    assert "clinical@1.0.1" in said and "revoked: Wrong doses." in said
    assert said.splitlines()[-1].split() == [box.fingerprint.hex, "revoked"]


BAD: list[tuple[str, list[str], int, str]] = [
    ("no publisher", ["root", "elsewhere", "--output", "x"], 10, "publisher init"),
    ("a publisher already", ["init", "pub", "--name", "Other"], 2, "already"),
    ("a new box without fingerprint", ["enrol", "pub", "new.json"], 2, "--fingerprint"),
    ("a misread word", ["enrol", "pub", "new.json", "--fingerprint", "apple pear"], 2, "is not in the list"),
    ("another box's fingerprint", ["enrol", "pub", "new.json", "--fingerprint", "ab" * 32], 20, "not the one given"),
    ("no enrolment", ["enrol", "pub", "p"], 22, "enrolment"),
    ("no such file", ["enrol", "pub", "nothing.json"], 14, "nothing.json"),
    ("an unsound model", ["add-model", "pub", "p", "--name", "a", "--version", "1"], 22, "not sound"),
    ("no model at all", ["add-model", "pub", "--name", "a", "--version", "1"], 2, "--same-as"),
    ("an unknown role", ["add-model", "pub", "p", "--name", "a", "--version", "1", "--role", "x"], 2, "embedding"),
    ("a card that is no text", ["add-model", "pub", "p", "--name", "a", "--version", "1", "--card", "bin"], 2, "UTF-8"),
    ("a size that is none", ["export", "pub", "usb", "--medium-size", "big"], 2, "not a size"),
    ("an unknown box", ["export", "pub", "usb", "--box", "Ward 9"], 14, "Ward 9"),
    ("nothing to revoke", ["revoke", "pub"], 2, "one thing"),
    ("two things to revoke", ["revoke", "pub", "clinical@1.0.0", "--box", "Ward 7"], 2, "one thing"),
    ("an unknown key", ["rotate", "door", "pub"], 2, "root, targets, models"),
    ("another passphrase", ["root", "pub", "--output", "x", "--passphrase-file", "wrong"], 12, "passphrase"),
]


def test_every_mistake_has_its_code_and_changes_nothing(
    shell: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, for speed; that errors become exit codes and words is the whole command line's own test."""
    monkeypatch.chdir(shell.cwd)
    monkeypatch.setenv("LUMEN_PUBLISHER_PASSPHRASE_FILE", "p")
    (shell.cwd / "new.json").write_bytes(Box.new("Ward 8").enrolment())
    (shell.cwd / "wrong").write_text("another passphrase")
    (shell.cwd / "wrong").chmod(0o600)
    (shell.cwd / "bin").write_bytes(b"\xff\xfe")
    before = content(shell.cwd)
    for what, args, code, words in BAD:
        result = CliRunner().invoke(app, args)
        assert isinstance(result.exception, LumenError), f"{what}: {result}"
        assert (result.exception.exit_code, result.stdout) == (code, ""), f"{what}: {result.exception}"
        assert words in str(result.exception), f"{what}: {result.exception}"
    assert content(shell.cwd) == before


def test_a_passphrase_file_that_others_can_read_is_refused(shell: Shell, folder: Path) -> None:
    (shell.cwd / "p").chmod(0o644)
    code, err = shell.fails("export", "pub", "usb")
    assert code == 2 and "chmod 600" in err


def test_without_a_passphrase_or_a_terminal_it_says_what_to_do(shell: Shell, folder: Path) -> None:
    (shell.cwd / "p").unlink()
    process = subprocess.run(
        [sys.executable, "-m", "lumen_box.cli.main", "publisher", "export", "pub", "usb"],
        cwd=shell.cwd,
        env={key: value for key, value in os.environ.items() if not key.startswith("LUMEN_")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 12
    assert "LUMEN_PUBLISHER_PASSPHRASE_FILE" in process.stderr


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)], ids=["interrupted", "killed"])
def test_stopped_in_the_middle(shell: Shell, folder: Path, tmp_path: Path, how: signal.Signals, code: int) -> None:
    model = write_tiny_model(tmp_path / "m.gguf", width=512, layers=8, hidden=2048, quantisation="F16", heads=8)
    before = content(folder)
    process = shell.start(
        "add-model", "pub", "m.gguf", "--name", "clinical", "--version", "2", "--segment-size", "1", "--part-size", "1"
    )
    wait_for(lambda: len(list((folder / "staging").rglob("part-*"))) > 2)
    process.send_signal(how)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err
    if how is signal.SIGINT:
        assert content(folder) == before
    else:
        assert content(folder) != before
    with Workspace.open(folder, PASSPHRASE) as workspace:
        assert "models/clinical/2.json" not in workspace.state.targets
    assert content(folder) == before
    assert model.exists()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("700000", 700_000),
        ("5B", 5),
        ("32GB", 32 * 10**9),
        ("32g", 32 * 10**9),
        ("30GiB", 30 * 2**30),
        ("1 TB", 10**12),
        ("150kB", 150_000),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1", "1.5GB", "1PB", "12 GB MB", "1" * 16])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)


def test_help_names_every_command_and_hides_what_is_for_tests(shell: Shell) -> None:
    text = shell("--help")
    for command in ("init", "root", "enrol", "add-model", "export", "revoke", "rotate"):
        assert command in text
    assert "--segment-size" not in shell("add-model", "--help")
