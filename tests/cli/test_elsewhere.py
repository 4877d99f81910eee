"""Asking over an address with a token: what somebody does who may not open the home of the box."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import Shell, passphrase_file
from tests.support.scene import BOX_SECRET, Scene


def test_with_a_token_and_no_home_somebody_asks(scene: Scene, tmp_path: Path) -> None:
    scene.install()
    operator = Shell(
        tmp_path,
        {
            "LUMEN_BOX_HOME": str(scene.home.root),
            "LUMEN_BOX_PASSPHRASE_FILE": passphrase_file(tmp_path / "q", BOX_SECRET),
        },
    )
    url = operator("serve", "--port", "0", "--detach").out.strip()
    try:
        operator("model", "activate", "clinical")
        token = passphrase_file(tmp_path / "token", operator("token", "create", "Anna").out.strip().encode())
        narrow = passphrase_file(
            tmp_path / "narrow", operator("token", "create", "Prometheus", "--scope", "metrics").out.strip().encode()
        )
        wrong = passphrase_file(tmp_path / "wrong", b"lb_" + b"x" * 40)
        analyst = Shell(tmp_path, {"LUMEN_BOX_HOME": ""})
        assert analyst("ask", "Hello", "--url", url, "--token-file", token).out == "Good morning.\n"
        said = analyst("chat", "--url", url, "--token-file", token, stdin="Hello\nAnd again\n")
        assert said.out.count("Good morning.") == 2
        for bad in (wrong, narrow):
            refused = analyst("ask", "Hello", "--url", url, "--token-file", bad, code=13)
            assert refused.out == "" and Path(bad).read_text().strip() not in refused.err
        operator("stop")
        assert "No gateway answers at" in analyst("ask", "Hello", "--url", url, "--token-file", token, code=30).err
    finally:
        operator("stop", code=None)


@pytest.mark.parametrize(
    ("url", "file", "code", "says"),
    [
        ("http://127.0.0.1:1", None, 2, "go together"),
        (None, "token", 2, "go together"),
        ("http://box.example:8180", "token", 2, "could be read on the way"),
        ("http://192.168.0.5", "token", 2, "could be read on the way"),
        ("http://127.0.0.1.evil.example", "token", 2, "could be read on the way"),
        ("ftp://127.0.0.1", "token", 2, "is not the address"),
        ("127.0.0.1:8180", "token", 2, "is not the address"),
        ("http://127.0.0.1:1/v1", "token", 2, "is not the address"),
        ("http://127.0.0.1:x", "token", 2, "is not the address"),
        ("http://anna:secret@127.0.0.1:1", "token", 2, "is not the address"),
        ("http://[::1", "token", 2, "is not the address"),
        ("http://127.0.0.1:1", "nothing", 14, "There is no token file"),
        ("http://127.0.0.1:1", "open", 2, "chmod 600"),
        ("http://127.0.0.1:1", "empty", 2, "does not hold a token"),
        ("http://127.0.0.1:1", "two", 2, "does not hold a token"),
        ("http://127.0.0.1:1", "binary", 2, "does not hold a token"),
        ("http://127.0.0.1:1", "token", 30, "No gateway answers"),
        ("http://localhost:1", "token", 30, "No gateway answers"),
        ("http://[::1]:1", "token", 30, "No gateway answers"),
    ],
)
def test_what_cannot_be_asked(tmp_path: Path, url: str | None, file: str | None, code: int, says: str) -> None:
    for name, content in (("token", b"lb_x"), ("empty", b""), ("two", b"lb_x\nlb_y"), ("binary", b"\xff\xfe\x00")):
        passphrase_file(tmp_path / name, content)
    (tmp_path / "open").write_text("lb_x")
    (tmp_path / "open").chmod(0o644)
    words = [*(["--url", url] if url else []), *(["--token-file", file] if file else [])]
    refused = Shell(tmp_path, {"LUMEN_BOX_HOME": ""})("ask", "Hello", *words, code=code)
    assert refused.out == "" and says in refused.err, refused.err
