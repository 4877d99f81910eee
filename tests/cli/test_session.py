"""The whole way, command by command, as the README shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Shell, passphrase_file
from tests.support.scene import SAYS
from tests.support.tiny_model import write_tiny_model


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(
        tmp_path,
        {
            "LUMEN_BOX_HOME": str(tmp_path / "box"),
            "LUMEN_BOX_PASSPHRASE_FILE": passphrase_file(tmp_path / "q", b"a box's passphrase"),
            "LUMEN_PUBLISHER_PASSPHRASE_FILE": passphrase_file(tmp_path / "p", b"a publisher's passphrase"),
        },
    )
    yield shell
    shell("stop", code=None)


def test_from_nothing_to_an_answer(shell: Shell, tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "model.gguf", script=SAYS)
    shell("publisher", "init", "pub", "--name", "Demo publisher")
    root = shell("publisher", "root", "pub", "--output", "root.json", "--json").json
    made = shell("init")
    assert made.out.startswith("Recovery key: ")
    exported = shell("enrolment", "export", "--output", "box.json", "--json").json
    assert exported["words"].split()[0] in made.err, "init and export show the same fingerprint"
    shell("trust", "pin", "root.json", "--fingerprint", root["words"])
    shell("publisher", "enrol", "pub", "box.json", "--fingerprint", exported["fingerprint"])
    shell("publisher", "add-model", "pub", "model.gguf", "--name", "clinical", "--version", "1.0.0")
    shell("publisher", "export", "pub", "usb")
    shell("model", "install", "usb", "clinical@1.0.0")
    shell("model", "activate", "clinical@1.0.0")
    (tmp_path / "ward.txt").write_text("Be brief.\n")
    shell("prompt", "add", "ward", "ward.txt")
    assert "not shared by any model now" in shell("prompt", "list").out
    url = shell("serve", "--port", "0", "--detach").out.strip()
    assert url.startswith("http://127.0.0.1:")

    answer = shell("ask", "Hello")
    assert answer.out == "Good morning.\n"
    assert answer.err == ""
    asked = shell("ask", "Summarise", "--json", stdin="A long note.").json
    assert asked["answer"] == "Good morning."
    assert asked["finish"] == "stop"
    assert asked["usage"]["completion_tokens"] == len(SAYS)

    (tmp_path / "leaflet.txt").write_text("Take one a day. ")
    added = shell("prompt", "add", "leaflet", "leaflet.txt", "--document", "--json").json
    assert (added["kind"], added["characters"], added["not_shared_by"]) == ("document", 16, {})
    listed = shell("prompt", "list", "--json").json["prompts"]
    assert [one["name"] for one in listed] == ["leaflet", "ward"]
    assert [one["shared_by"] for one in listed] == [["demo-publisher/clinical"]] * 2
    assert shell("prompt", "show", "ward").out == "Be brief.\n"
    assert shell("prompt", "remove", "ward").out == "ward is no longer published.\n"
    assert [one["name"] for one in shell("prompt", "list", "--json").json["prompts"]] == ["leaflet"]

    status = shell("status", "--json").json
    assert (status["ready"], status["url"]) == (True, url)
    assert [model["name"] for model in status["models"]] == ["clinical"]
    shown = shell("model", "show", "clinical", "--json").json
    assert {
        "name", "version", "state", "role", "architecture", "parameters", "context", "quantisation", "size",
        "publisher", "signed_at", "template_sha256",
    } <= shown.keys()  # fmt: skip
    assert (shown["state"], shown["publisher"]) == ("active (default)", "demo-publisher")

    assert shell("serve", "--detach", code=11).err.startswith("lumen-box: A gateway serves this box already")
    assert shell("lock", "--json").json == {"sealed": True}
    assert shell("ask", "Hello", code=12).out == ""
    assert "sealed" in shell("prompt", "list", code=12).err
    assert shell("unlock", "--json").json == {"sealed": False, "opened": True}
    assert shell("unlock", "--json").json == {"sealed": False, "opened": False}
    assert "without a version" in shell("model", "rollback", "clinical@1.0.0", code=2).err
    assert shell("stop", "--json").json == {"stopped": True}
    assert shell("ask", "Hello", code=30).err.startswith("lumen-box: No gateway runs for this box.")
    assert shell("status", "--json").json["ready"] is False


def test_a_chat_line_by_line(shell: Shell, tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "model.gguf", script=SAYS)
    shell("publisher", "init", "pub", "--name", "P")
    root = shell("publisher", "root", "pub", "--output", "root.json", "--json").json
    shell("init")
    exported = shell("enrolment", "export", "--output", "box.json", "--json").json
    shell("trust", "pin", "root.json", "--fingerprint", root["fingerprint"])
    shell("publisher", "enrol", "pub", "box.json", "--fingerprint", exported["fingerprint"])
    shell("publisher", "add-model", "pub", "model.gguf", "--name", "m", "--version", "1")
    shell("publisher", "export", "pub", "usb")
    assert shell("model", "install", "usb", "--list").out == "p/m@1\n"
    assert shell("model", "list").out == "No model is installed.\n", "looking installs nothing, not even the only one"
    shell("model", "install", "usb")
    shell("model", "activate", "m")
    shell("serve", "--port", "0", "--detach")
    said = shell("chat", stdin="Hello\nAnd again\n\n")
    assert said.out.count("Good morning.") == 2


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["status"], 10, "There is no box in"),
        (["ask", "Hello"], 10, "There is no box in"),
        (["model", "install"], 2, "Missing argument"),
        (["trust", "pin", "nowhere.json", "--fingerprint", "00"], 2, "nowhere.json cannot be read"),
        (["publisher", "root", "nowhere", "--output", "x"], 10, ""),
        (["no-such-command"], 2, "No such command"),
        (["serve", "--host", "192.168.0.1"], 10, "There is no box"),
    ],
)
def test_what_goes_wrong_before_there_is_a_box(shell: Shell, words: list[str], code: int, says: str) -> None:
    result = shell(*words, code=code)
    assert result.out == ""
    assert says in result.err


def test_mistakes_with_a_box(shell: Shell, tmp_path: Path) -> None:
    shell("init")
    assert "There is a box in" in shell("init", code=2).err
    wrong = passphrase_file(tmp_path / "wrong", b"wrong")
    assert shell("trust", "show", "--passphrase-file", wrong, code=12).out == ""
    (tmp_path / "open").write_text("secret\n")
    (tmp_path / "open").chmod(0o644)
    assert "chmod 600" in shell("trust", "show", "--passphrase-file", "open", code=2).err
    assert "no terminal to ask on" in shell("trust", "show", LUMEN_BOX_PASSPHRASE_FILE="", code=12).err
    assert "without TLS it serves the loopback only" in shell("serve", "--host", "0.0.0.0", code=2).err
    assert shell("model", "show", "nothing", code=14).out == ""
    (tmp_path / "latin1.txt").write_bytes(b"caf\xe9")
    (tmp_path / "large.txt").write_bytes(b"x" * (256 * 1024 + 1))
    for file, says in (("nowhere", "cannot be read"), ("latin1.txt", "byte 3"), ("large.txt", "larger than 256 KiB")):
        assert says in shell("prompt", "add", "ward", file, code=2).err
    assert "a letter or digit first" in shell("prompt", "add", "Ward", "open", code=2).err
    assert "no published prompt 'ward'" in shell("prompt", "remove", "ward", code=14).err
    assert shell("model", "activate", "../../etc", code=2).out == ""
    assert shell("model", "install", "nowhere", "x", code=14).out == ""
    (tmp_path / "box").chmod(0o755)
    assert "can be entered by other users" in shell("status", code=13).err


def test_help_is_quick(tmp_path: Path) -> None:
    """What help imports is what it costs: nothing heavy may be among it (the time itself is in benchmarks/)."""
    import subprocess
    import sys

    script = (
        "import sys; sys.argv = ['lumen-box', '--help']\n"
        "from lumen_box.cli.main import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "heavy = {'fastapi', 'pydantic', 'httpx', 'rich', 'cryptography', 'tuf', 'sqlite_utils', 'numpy', 'jinja2',"
        " 'llama_cpp', 'uvicorn', 'textual', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert "Commands:" in done.stdout
    assert done.stderr.strip() == "[]"


def test_a_terminal_is_not_steered_by_what_is_shown() -> None:
    from lumen_box.cli.common import plain

    assert plain("a\x1b]52;c;ZXZpbA==\x07b\tc\nd\x9bm\r") == "a\N{REPLACEMENT CHARACTER}]52;c;ZXZpbA==" + (
        "\N{REPLACEMENT CHARACTER}b\tc\nd\N{REPLACEMENT CHARACTER}m\N{REPLACEMENT CHARACTER}"
    )


def test_a_key_file_opens_the_box_and_a_stale_one_leaves_it_sealed(shell: Shell, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_bytes(bytes(range(64)))
    shell("init", "--key-file", str(key))
    (tmp_path / "box" / "settings.toml").write_text(f'[vault]\nkey_file = "{key}"\n')
    assert shell("trust", "show", LUMEN_BOX_PASSPHRASE_FILE="").out == "No publisher is pinned.\n"
    key.write_bytes(bytes(64))
    shell("trust", "show")  # by the passphrase
    shell("serve", "--port", "0", "--detach", LUMEN_BOX_PASSPHRASE_FILE="")
    assert shell("status", "--json").json["state"] == "sealed"
    shell("unlock", LUMEN_BOX_PASSPHRASE_FILE="q")  # relative, as people write it
    assert shell("status", "--json").json["sealed"] is False
    shell("stop")
    shell("serve", "--port", "0", "--detach", LUMEN_BOX_PASSPHRASE_FILE="q")
    assert shell("status", "--json").json["sealed"] is False
