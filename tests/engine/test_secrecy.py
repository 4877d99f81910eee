"""While a model serves, its plaintext is in the worker's memory and nowhere else.

Each search is first shown to find what was planted; see DESIGN, honest tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lumen_box.engine.llama import Context, ContextSize, Model
from lumen_box.engine.supervisor import Engine
from lumen_box.engine.weights import EncryptedWeights
from tests.engine.support import KEY, OBJECT_ID, ask, encrypt, running
from tests.support.tiny_model import write_tiny_model

TENSOR = b"blk.0.ffn_gate.weight"
TOKEN = b"xylophonbirdseye"
LARGEST = 64 << 20


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """An object whose plaintext is nowhere on this machine any more."""
    gguf = write_tiny_model(tmp_path / "secret.gguf", planted=[TOKEN.decode()])
    stored = encrypt(gguf)
    assert TENSOR in gguf.read_bytes()
    assert TOKEN in gguf.read_bytes()
    gguf.unlink()
    return stored


def files_below(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        for parent, _, names in os.walk(folder):
            yield from (Path(parent) / name for name in names)


def holds(path: Path, words: tuple[bytes, ...]) -> bool:
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return False
        data = path.read_bytes()
    except OSError:
        return False  # another test's, gone meanwhile
    return any(word in data for word in words)


def descriptors(pid: int) -> dict[str, str]:
    """What each of a process's descriptors is open on."""
    targets = {}
    for entry in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            targets[entry] = os.readlink(f"/proc/{pid}/fd/{entry}")
    return targets


def memfds(pid: int) -> list[Path]:
    return [Path(f"/proc/{pid}/fd/{number}") for number, target in descriptors(pid).items() if "memfd:" in target]


def found(pid: int, folders: tuple[Path, ...]) -> list[Path]:
    """Where a tensor's name or a token's text lies in the clear."""
    return [path for path in (*files_below(*folders), *memfds(pid)) if holds(path, (TENSOR, TOKEN))]


def test_the_search_finds_what_is_planted(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    planted = tmp_path / "deep" / "file"
    planted.write_bytes(bytes(1000) + TENSOR)
    memory = os.memfd_create("planted")
    os.write(memory, TOKEN)
    try:
        assert found(os.getpid(), (tmp_path,)) == [planted, Path(f"/proc/{os.getpid()}/fd/{memory}")]
    finally:
        os.close(memory)


def test_no_plaintext_of_the_model_is_in_any_file_or_memfd_while_it_serves(secret: Path, tmp_path: Path) -> None:
    async def run() -> list[Path]:
        async with running(secret) as engine:
            await ask(engine, "Hello")
            folders = (tmp_path, Path("/dev/shm"), *fresh_temporary_files())
            return found(engine.status().pid, folders)

    before = set(Path(tempfile.gettempdir()).iterdir())

    def fresh_temporary_files() -> list[Path]:
        """What appeared in the folder for temporary files since; other tests' folders have their own models."""
        return [path for path in Path(tempfile.gettempdir()).iterdir() if path not in before and path.is_file()]

    assert asyncio.run(run()) == []


def test_once_loaded_the_worker_has_no_file_open_but_its_socket(secret: Path) -> None:
    async def run() -> dict[str, str]:
        async with running(secret) as engine:
            return descriptors(engine.status().pid)

    targets = asyncio.run(run())
    assert not [target for target in targets.values() if str(secret) in target]
    kinds = {target.split(":")[0] for target in targets.values()}
    assert kinds <= {"socket", "pipe", "/dev/null"}, targets


def mappings(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def test_the_weights_are_in_memory_once_and_not_mapped_from_a_file(secret: Path) -> None:
    async def run() -> str:
        async with running(secret) as engine:
            return mappings(engine.status().pid)

    maps = asyncio.run(run())
    assert "libllama" in maps  # that it is the worker's
    assert secret.name not in maps
    assert "memfd:" not in maps
    assert "deleted" not in maps


def test_the_key_is_in_neither_the_environment_nor_the_arguments(secret: Path) -> None:
    async def run() -> bytes:
        async with running(secret) as engine:
            pid = engine.status().pid
            return Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()

    seen = asyncio.run(run())
    assert b"LLAMA_CPP_LIB_PATH" in seen
    assert KEY not in seen
    assert KEY.hex().encode() not in seen


def test_the_worker_has_no_network_but_its_own_loopback(secret: Path) -> None:
    async def run() -> tuple[str, str]:
        async with running(secret) as engine:
            pid = engine.status().pid
            return os.readlink(f"/proc/{pid}/ns/net"), Path(f"/proc/{pid}/net/dev").read_text()

    namespace, interfaces = asyncio.run(run())
    assert namespace != os.readlink("/proc/self/ns/net")
    assert [line.split(":")[0].strip() for line in interfaces.splitlines()[2:]] == ["lo"]


def test_the_worker_leaves_no_core_file(secret: Path) -> None:
    async def run() -> str:
        async with running(secret) as engine:
            return Path(f"/proc/{engine.status().pid}/limits").read_text()

    core = next(line for line in asyncio.run(run()).splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]


def test_encrypted_and_plain_loads_give_identical_logits(gguf: Path, stored: Path) -> None:
    def logits(model: Model) -> bytes:
        context = Context(model, ContextSize(256, 1, 64, 1))
        assert context.decode([(0, 0, [5, 6, 7, 8], True)]) == 0
        raw = context.logits(3).tobytes()
        context.close()
        model.close()
        return raw

    c = ctypes.CDLL(None)
    c.fopen.restype, c.fopen.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_char_p]
    plain = c.fopen(str(gguf).encode(), b"rb")
    expected = logits(Model(ctypes.c_void_p(plain), gpu_layers=0, progress=lambda done: None))
    weights = EncryptedWeights(os.open(stored, os.O_RDONLY), KEY, OBJECT_ID, stored.stat().st_size)
    with weights.file() as file:
        model = Model(file, gpu_layers=0, progress=lambda done: None)
    weights.close()
    assert logits(model) == expected
    assert len(expected) > 1000
    assert any(expected)


def test_the_gateway_keeps_no_key(secret: Path) -> None:
    """The engine asks for the key when a worker loads, and holds it nowhere."""

    def reachable(thing: object, seen: set[int], depth: int = 6) -> Iterator[object]:
        if id(thing) in seen or depth == 0:
            return
        seen.add(id(thing))
        yield thing
        inner = list(vars(thing).values()) if hasattr(thing, "__dict__") else []
        inner += list(thing) if isinstance(thing, list | tuple | set) else []
        inner += list(thing.values()) if isinstance(thing, dict) else []
        for one in inner:
            yield from reachable(one, seen, depth - 1)

    async def run() -> list[object]:
        async with running(secret) as engine:
            assert isinstance(engine, Engine)
            return [thing for thing in reachable(engine, set()) if isinstance(thing, bytes) and KEY in thing]

    assert asyncio.run(run()) == []
