"""The two servers that answer the same clients: a real box, and llama-server on the same weights.

The box is made, given its model from a medium, and served by its own command; its clients come over TCP, each with a
token of their own, as people would. Both get the same number of sequences, the same context for each, and the same
threads. Neither is told the other's step size: each keeps its own default.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shlex
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lumen_box.client.transport import connect
from lumen_box.paths import Home
from lumen_box.schemas.address import socket_address

from . import material, peer, weights
from .harness import ROOT, displayed, heading

TOKENS: Final = "LUMEN_BOX_BENCHMARK_TOKENS"  # the environment's name for the clients' tokens, with commas between
HOME: Final = "LUMEN_BOX_BENCHMARK_HOME"
START_SECONDS: Final = 120.0
QUEUE: Final = 256


@dataclass(frozen=True)
class Shape:
    """``context`` tokens for each of ``parallel`` sequences. ``cache_mib`` is for the box; -1 is its default."""

    parallel: int
    context: int
    threads: int = len(os.sched_getaffinity(0))
    cache_mib: int = -1


@dataclass(frozen=True)
class Server:
    """One that runs: where, how it was started, and for a box its home and its clients' tokens."""

    url: str
    shown: str
    tokens: tuple[str, ...] = ()
    home: Path | None = None

    def environment(self) -> dict[str, str]:
        """What a load generator in another process is told beside the URL."""
        return {TOKENS: ",".join(self.tokens), HOME: str(self.home or "")}


@contextmanager
def side_by_side(
    name: str, shape: Shape, people: int, peers: Mapping[str, Sequence[str]]
) -> Iterator[Mapping[str, Server]]:
    """A box, and a llama-server with each of the ``peers``' flags, all running until the block ends; says which.

    The load generators that this process starts are told what they need. A benchmark that is told to end ends them too.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with ExitStack() as stack:
        running = {"box": stack.enter_context(box(name, shape, people))}
        for peer_name, flags in peers.items():
            running[peer_name] = stack.enter_context(llama_server(name, shape, *flags))
        os.environ |= running["box"].environment()
        heading()
        for server in running.values():
            print(f"{server.shown}\n", flush=True)
        yield running


@contextmanager
def box(name: str, shape: Shape, people: int) -> Iterator[Server]:
    """A served box with the model ``name`` of :mod:`weights` active, and a token for each of ``people``."""
    stock = material.Stock(material.folder() / f"serving-{name}", weights.path(name))
    medium, home = stock.medium(), stock.fresh_box()
    say = ("--home", str(home))
    material.say(*say, "model", "install", str(medium), material.NAME)
    material.say(*say, "model", "activate", material.NAME)
    with serve(home, shape, people) as server:
        yield server


@contextmanager
def serve(home: Path, shape: Shape, people: int) -> Iterator[Server]:
    """The gateway of a box that has a model already."""
    engine = [f"{name} = {value}" for name, value in dataclasses.asdict(shape).items()]
    lines = ["[gateway]", f"queue = {QUEUE}", "[engine]", *engine]
    (home / "settings.toml").write_text("\n".join(lines) + "\n")
    try:  # also where it is interrupted while the gateway starts
        url = material.say("--home", str(home), "serve", "--port", "0", "--detach").strip()
        tokens = asyncio.run(_tokens(home, people))
        command = displayed(material.lumen_box("--home", str(home), "serve"))
        yield Server(url, f"{command}  with {'; '.join(lines)}", tokens, home)
    finally:
        subprocess.run(material.lumen_box("--home", str(home), "stop"), capture_output=True)


async def _tokens(home: Path, people: int) -> tuple[str, ...]:
    async with connect(socket=Home(home.absolute()).socket) as client:
        asked: list[dict[str, Any]] = [{"name": f"person {n}", "scopes": ["chat"], "days": 1} for n in range(people)]
        return tuple([(await client.post("/api/tokens", one))["token"] for one in asked])


@contextmanager
def llama_server(name: str, shape: Shape, *flags: str) -> Iterator[Server]:
    """llama-server with ``flags`` of its own beside those that both servers share."""
    port = _free_port()
    command = [str(peer.executable()), "--model", str(weights.path(name)), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--parallel", str(shape.parallel), "--ctx-size", str(shape.parallel * shape.context)]
    command += ["--threads", str(shape.threads), "--threads-batch", str(shape.threads), "--no-ui", "--jinja"]
    command += ["--fit", "off", *flags]
    log = material.folder() / f"llama-server-{port}.log"
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=ROOT)
    try:
        url = f"http://127.0.0.1:{port}"
        _until_healthy(url, process, log)
        yield Server(url, shlex.join(["llama-server", *command[1:]]).replace(f"{ROOT}/", ""))
    finally:
        process.terminate()
        process.wait()
        log.unlink()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310 - an address of ours
            return
        time.sleep(0.1)
    raise SystemExit(f"llama-server did not start:\n{log.read_text(errors='replace')[-2000:]}")


@dataclass(frozen=True)
class Processes:
    """Those of a box: the gateway and what it started, by pid."""

    gateway: int
    children: tuple[int, ...]

    @classmethod
    def of(cls, home: Path) -> Processes:
        """The gateway is whoever listens on the home's socket."""
        with socket.socket(socket.AF_UNIX) as probe, socket_address(Home(home.absolute()).socket) as address:
            probe.connect(address)
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        gateway = struct.unpack("3i", credentials)[0]
        return cls(gateway, tuple(_below(gateway)))

    def resident(self) -> dict[str, int]:
        """Resident bytes of the gateway, and of everything that it started taken together."""
        return {"gateway": _resident(self.gateway), "workers": sum(map(_resident, self.children))}


def _below(pid: int) -> Iterator[int]:
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, tasks.read_text().split()):
            yield child
            yield from _below(child)


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def tokens() -> list[str]:
    """The tokens that this process was given; one empty one for a server that wants none."""
    return os.environ.get(TOKENS, "").split(",")


async def published(home: Path, name: str, text: str) -> None:
    """Publishes a system prompt in a box that is served, as its operator would."""
    async with connect(socket=Home(home.absolute()).socket) as client:
        await client.post("/api/prompts", {"name": name, "kind": "system", "text": text})
