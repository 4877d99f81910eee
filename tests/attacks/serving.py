"""A box that really serves, started and ended as its operator would, and what a local attacker sees of it in /proc."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from lumen_box.publisher.model import add_model
from tests.support.cli import Shell, passphrase_file
from tests.support.scene import BOX_SECRET, PUBLISHER_SECRET, Scene, new_model
from tests.support.tiny_model import write_tiny_model

WORKER, TEMPLATES = "lumen_box.engine.worker", "lumen_box.engine.template_worker"
USER = {"role": "user", "content": "Hello"}
CHAT = {"messages": [USER], "max_tokens": 8}


def shell_of(scene: Scene) -> Shell:
    """The command line in the scene's folder, with both passphrases in files."""
    secrets = {"LUMEN_BOX_PASSPHRASE_FILE": BOX_SECRET, "LUMEN_PUBLISHER_PASSPHRASE_FILE": PUBLISHER_SECRET}
    files = {name: passphrase_file(scene.folder / name.lower(), secret) for name, secret in secrets.items()}
    return Shell(scene.folder, {"LUMEN_BOX_HOME": str(scene.home.root), **files})


def add_talker(scene: Scene, version: str = "2.0.0", **shape: Any) -> None:
    """A version that talks until its context is full, so that something can happen in the middle of an answer."""
    gguf = write_tiny_model(scene.folder / "talker.gguf", context=shape.pop("context", 8192), **shape)
    with scene.publisher() as workspace:
        add_model(workspace, gguf, new_model("clinical", version), lambda event: None)
    gguf.unlink()
    scene.export()


@dataclass
class Serving:
    """A gateway in the background. ``url`` is its address on the loopback."""

    scene: Scene
    shell: Shell
    url: str

    @property
    def pid(self) -> int:
        """Of the gateway: who listens at its socket, as the kernel says."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.scene.home.socket))
            return int(struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])

    def processes(self, module: str = "") -> list[int]:
        """The gateway and all that it started, or only those that run ``module``."""
        parents = dict(_parents())
        family = {self.pid}
        while more := {pid for pid, parent in parents.items() if parent in family} - family:
            family |= more
        return sorted(pid for pid in family if module in command_line(pid))

    def running(self, module: str) -> int:
        """The confined process of a module: the innermost of those that name it."""
        return self.processes(module)[-1]

    def client(self, token: str | None = None, **more: Any) -> httpx.Client:
        """Over TCP with a token, or over the socket as the box's own user."""
        if token is not None:
            return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {token}"}, timeout=60, **more)
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.scene.home.socket)), base_url="http://localhost", timeout=60
        )

    def token(self, *scopes: str, name: str = "attacker") -> dict[str, Any]:
        """A new token; ``token`` is its text."""
        with self.client() as local:
            answer = local.post("/api/tokens", json={"name": name, "scopes": scopes or ["chat", "models"], "days": 1})
            assert answer.status_code == 200, answer.text
            made: dict[str, Any] = answer.json()
            return made

    def answers(self) -> bool:
        """Whether a question gets an answer now."""
        with self.client() as local:
            return local.post("/v1/chat/completions", json=CHAT).status_code == 200

    def connect(self) -> socket.socket:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return socket.create_connection((host, int(port)), timeout=30)


@contextlib.contextmanager
def serving(scene: Scene, *words: str) -> Iterator[Serving]:
    """``serve --detach`` in the scene's home, until the block ends; then no process of it is left."""
    shell = shell_of(scene)
    url = shell("serve", "--port", "0", "--detach", *words).out.strip()
    box = Serving(scene, shell, url)
    family = box.processes()
    try:
        yield box
    finally:
        family += box.processes() if scene.home.socket.exists() else []
        shell("stop", code=None)
        for pid in family:  # only where the box did not end them itself, which a test then notices elsewhere
            with contextlib.suppress(ProcessLookupError):
                if str(scene.home.root) in command_line(pid):
                    os.kill(pid, signal.SIGKILL)


def events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """The JSON of a stream's events, without the closing mark."""
    for line in response.iter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _parents() -> Iterator[tuple[int, int]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                yield int(entry), int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])


def until(happened: Callable[[], bool], seconds: float = 10.0) -> float:
    """Waits for something that must happen in time; returns how long it took."""
    began = time.monotonic()
    while not happened():
        assert time.monotonic() - began < seconds, f"it did not happen within {seconds} seconds"
        time.sleep(0.02)
    return time.monotonic() - began
