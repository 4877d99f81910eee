"""A box that serves, as somebody with root on the machine sees it: its files, and its processes in /proc.

Every search is first shown to find what was planted in the place that it looks at.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import secrets
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lumen_box.gguf.reader import read_header
from tests.support.scene import BOX_SECRET, PUBLISHER_SECRET, Scene

from .looking import Search
from .serving import TEMPLATES, WORKER, Serving, add_talker, serving

TOKEN = f"telltale{secrets.token_hex(8)}"  # of this run alone: what lies in shared places cannot be another test's


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Search:
    """The names of the model's tensors, the text of one of its tokens, and a piece of its weights."""
    from tests.support.tiny_model import write_tiny_model

    gguf = write_tiny_model(tmp_path_factory.mktemp("clear") / "model.gguf", planted=(TOKEN,), seed=77, context=8192)
    data = gguf.read_bytes()
    header = read_header(lambda offset, size: data[offset : offset + size], len(data))
    tensors = [tensor.name.encode() for tensor in header.tensors if "." in tensor.name]
    gate = next(tensor for tensor in header.tensors if tensor.name == "blk.1.ffn_gate.weight")
    middle = header.data_offset + gate.offset + gate.size // 2
    words = (TOKEN.encode(), data[middle : middle + 48], *tensors)
    assert len(set(words[1])) > 10, "a piece of random numbers"
    assert len(tensors) > 10
    assert all(word in data for word in words)
    gguf.unlink()
    return Search.of(*words)


@pytest.fixture(scope="module")
def box(_scene: Scene, names: Search, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    scene = _scene.copy(tmp_path_factory.mktemp("outside") / "scene")
    add_talker(scene, planted=(TOKEN,), seed=77)
    scene.install(wanted="clinical@2.0.0")
    with serving(scene) as running:
        running.shell("model", "activate", "clinical@2.0.0")
        assert running.answers()
        yield running


@contextlib.contextmanager
def mapped(fd: int) -> Iterator[None]:
    """The first page of ``fd``, mapped without a descriptor of the map's own, as Python's would have."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype, libc.munmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t]
    address = libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    yield
    libc.munmap(address, mmap.PAGESIZE)


def test_the_search_finds_what_is_planted_in_each_place(names: Search, tmp_path: Path) -> None:
    once = Search.of(b"found:" + secrets.token_hex(16).encode())
    word = once.words[0]
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "file").write_bytes(bytes((8 << 20) - 10) + word)  # across two reads
    assert once.in_folder(tmp_path) == [tmp_path / "deep" / "er" / "file"]

    for folder in ("/dev/shm", tempfile.gettempdir()):
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(word)
            file.flush()
            assert once.in_shared_places() == [Path(file.name)]

    memory = os.memfd_create("planted")
    os.write(memory, word)
    assert once.in_process(os.getpid()) == ["/memfd:planted (deleted)"]
    with mapped(memory):
        os.close(memory)
        if os.geteuid() == 0:  # nobody else may look into maps
            assert once.in_process(os.getpid()) == ["/memfd:planted (deleted)"]

    with (tmp_path / "deleted").open("w+b") as file:
        file.write(word)
        file.flush()
        (tmp_path / "deleted").unlink()
        assert once.in_process(os.getpid()) == [f"{tmp_path}/deleted (deleted)"]
    assert once.in_process(os.getpid()) == []


def test_nothing_of_the_model_is_anywhere_in_the_clear_while_it_serves(box: Serving, names: Search) -> None:
    assert len(list(box.scene.home.objects.iterdir())) == 1
    assert names.in_folder(box.scene.folder) == []
    ours = Search(names.words[:2], names.began)  # the engine library has names of tensors of its own
    assert ours.in_shared_places() == []
    family = box.processes()
    assert len(family) >= 4, "the gateway, and engine and templates with their monitors"
    assert {pid: found for pid in family if (found := ours.in_process(pid))} == {}


def test_no_secret_is_in_arguments_environment_or_log(box: Serving) -> None:
    token = box.token()["token"]
    with box.client(token) as client:
        assert client.get("/v1/models").status_code == 200
        assert client.post("/v1/chat/completions", json={"messages": "a private question"}).status_code == 400
    for pid in box.processes():
        for entry in ("cmdline", "environ"):
            seen = _read(Path(f"/proc/{pid}/{entry}"))
            assert not any(secret in seen for secret in (BOX_SECRET, PUBLISHER_SECRET, token.encode()))
    proof = token.split("_", 2)[2]
    kept = Search.of(BOX_SECRET, PUBLISHER_SECRET, token.encode(), proof.encode(), b"a private question")
    assert kept.in_folder(box.scene.home.root) == []


def test_the_engine_has_nothing_open_no_way_out_and_cannot_be_looked_into(box: Serving) -> None:
    engine = Path(f"/proc/{box.running(WORKER)}")
    assert os.readlink(engine / "ns" / "net") != os.readlink("/proc/self/ns/net")
    interfaces = (engine / "net" / "dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    assert (engine / "net" / "route").read_text().splitlines()[1:] == []
    assert "LUMEN" not in _read(engine / "environ").decode()
    assert "Max core file size        0                    0" in (engine / "limits").read_text()
    if os.geteuid() == 0:
        targets = [os.readlink(engine / "fd" / number) for number in os.listdir(engine / "fd")]
        assert {target.split(":")[0] for target in targets} <= {"socket", "pipe", "/dev/null"}
        assert not (engine / "root" / str(box.scene.home.root).lstrip("/")).exists()


def test_the_template_helper_is_held_the_same_way(box: Serving) -> None:
    helper = Path(f"/proc/{box.running(TEMPLATES)}")
    assert os.readlink(helper / "ns" / "net") != os.readlink("/proc/self/ns/net")
    assert "LUMEN" not in _read(helper / "environ").decode()


# Root may look into everything, so whoever looks gives up that one right first, and so does the box; see
# tests/launcher/test_outside.py.
WITHOUT_THE_RIGHT = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 19, 0, 0, 0);"  # PR_CAPBSET_DROP, CAP_SYS_PTRACE
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
LOOK_INTO = (
    "import ctypes, os, sys, time; pid = int(sys.argv[1]) or os.fork() or time.sleep(60);"
    "print(ctypes.CDLL(None).ptrace(0x4206, pid, None, None)); sys.argv[1] == '0' and os.kill(pid, 9)"  # PTRACE_SEIZE
)


def looked_into(pid: int) -> bool:
    """Whether another process of our own user may attach to ``pid``; 0 stands for a child of that process."""
    command = [sys.executable, "-c", WITHOUT_THE_RIGHT, "-c", LOOK_INTO, str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout == "0\n"


def test_no_process_of_the_box_can_be_looked_into_by_its_own_user(box: Serving) -> None:
    assert looked_into(0)
    box.shell("stop")
    command = [sys.executable, "-c", WITHOUT_THE_RIGHT, "-m", "lumen_box.cli.main", "serve", "--port", "0", "--detach"]
    environment = {**os.environ, **box.shell.environment}
    box.url = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    assert box.answers()
    for pid in (box.pid, box.running(WORKER), box.running(TEMPLATES)):
        assert not looked_into(pid)
        assert "Max core file size        0                    0" in Path(f"/proc/{pid}/limits").read_text()


def test_nobody_else_may_read_what_the_box_writes(box: Serving) -> None:
    box.shell("enrolment", "export", "--output", "mine.json")
    written = [*box.scene.home.root.rglob("*"), box.scene.home.root, box.scene.folder / "mine.json"]
    assert len(written) > 20
    assert [path for path in written if stat.S_IMODE(path.lstat().st_mode) & 0o077] == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except PermissionError:
        assert os.geteuid() != 0
        return b""
