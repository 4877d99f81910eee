"""KV state that is not wanted any more is nowhere in the process's memory. The search is first shown to find it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lumen_box.engine.kv import is_plain
from lumen_box.engine.llama import Model
from tests.engine import embed_probe
from tests.engine.bench import Bench, load, needles, prompt
from tests.engine.kept_probe import LENGTH
from tests.support import tiny_bert
from tests.support.tiny_model import write_tiny_model

PIECE = 1 << 24


@pytest.fixture(scope="module")
def model(gguf: Path) -> Iterator[Model]:
    loaded = load(gguf)
    yield loaded
    loaded.close()


@pytest.fixture
def probe(gguf: Path) -> Iterator[tuple[int, Callable[[str], None]]]:
    """A process's id, and how to tell it what to do."""
    with started("tests.engine.kept_probe", gguf) as running:
        yield running


@contextlib.contextmanager
def started(module: str, gguf: Path) -> Iterator[tuple[int, Callable[[str], None]]]:
    words = [sys.executable, "-m", module, str(gguf)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        source, target = process.stdout, process.stdin
        assert source.readline() == "ready\n"

        def tell(line: str) -> None:
            target.write(line + "\n")
            target.flush()
            assert source.readline() == "done\n"

        yield process.pid, tell
        target.close()


def found(pid: int, wanted: list[bytes]) -> int:
    """How many of the pieces are somewhere in a process's writable memory."""
    seen = set()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            if "w" not in rights or "[v" in line:
                continue
            start, end = (int(place, 16) for place in span.split("-"))
            for place in range(start, end, PIECE):
                data = os.pread(memory.fileno(), min(PIECE + 64, end - place), place)
                seen |= {one for one in wanted if one in data}
    return len(seen)


def test_forgotten_state_is_gone_from_memory(probe: tuple[int, Callable[[str], None]], model: Model) -> None:
    pid, tell = probe
    secret, other = list(needles(model, prompt(1, LENGTH))), list(needles(model, prompt(2, LENGTH)))
    assert (found(pid, secret), found(pid, other)) == (0, 0)
    tell("answer nurse 1")
    tell("answer clerk 2")
    assert (found(pid, secret), found(pid, other)) == (3, 3)  # in their slots
    tell("forget nurse")
    assert (found(pid, secret), found(pid, other)) == (0, 3)


def test_parked_state_is_found_and_forgotten_too(probe: tuple[int, Callable[[str], None]], model: Model) -> None:
    pid, tell = probe
    secret = list(needles(model, prompt(1, LENGTH)))
    tell("answer nurse 1")
    tell("answer clerk 2")
    tell("answer porter 3")
    tell("answer cook 4")
    assert found(pid, secret) == 3  # in host memory: there are two slots, and others have them
    tell("forget nurse")
    assert found(pid, secret) == 0


def test_what_was_embedded_is_overwritten_when_there_is_a_pause(tmp_path: Path) -> None:
    gguf = write_tiny_model(tmp_path / "tiny.gguf", pooling=tiny_bert.LAST)
    loaded = load(gguf)
    one, other, third = (list(embed_probe.needles(loaded, seed)) for seed in (1, 2, 3))
    loaded.close()
    with started(embed_probe.__name__, gguf) as (pid, tell):
        tell("embed 1")
        assert (found(pid, one), found(pid, other)) == (2, 0), "its cells are free, and nobody has overwritten them yet"
        tell("rest")
        assert found(pid, one) == 0
        tell("begin 2")
        tell("forget")
        assert found(pid, other) == 2, "it is still being read"
        tell("cancel")
        tell("forget")
        assert found(pid, other) == 0
        tell("embed 3")
        assert found(pid, third) == 2


def test_an_answer_of_nobody_leaves_nothing(model: Model) -> None:
    bench = Bench(model)
    empty = bench.context.cells.size(0)
    bench.answer("", prompt(1, LENGTH))
    assert bench.context.cells.size(0) == empty
    assert not bench.context.cells.dirty
    assert not bench.decoder._prefixes.kept
    bench.close()


def test_a_published_prefix_is_wiped_when_it_is_withdrawn(
    probe: tuple[int, Callable[[str], None]], model: Model
) -> None:
    pid, tell = probe
    text = list(needles(model, prompt(5, LENGTH)))
    tell("publish 5")
    assert found(pid, text) == 3
    tell("withdraw")
    assert found(pid, text) == 0


def test_where_the_layout_is_not_understood_all_is_wiped_once_nothing_runs(model: Model) -> None:
    """As with caches of other kinds: what another owner keeps is parked first, and still of use."""
    bench = Bench(model)
    bench.context.cells._plain = False
    bench.answer("nurse", prompt(1, LENGTH))
    bench.answer("", prompt(2, LENGTH))
    assert not bench.context.cells.dirty  # wiped when it came to rest
    assert bench.answer("nurse", prompt(1, LENGTH)).cached == LENGTH - 1
    bench.close()


def test_only_a_state_that_is_understood_to_the_last_byte_is_taken_for_plain(model: Model) -> None:
    bench = Bench(model)
    bench.context.decode([(0, 0, [7], False)])
    blob = bench.context.cells.save(0)
    assert blob
    state = ctypes.string_at(blob.address, blob.size)
    assert is_plain(state, 2)
    for wrong in (state[:-1], state + b"\0", b"\0" + state[1:], state[:8] + b"\3" + state[9:], state[:30], b""):
        assert not is_plain(wrong, 2)
    assert not is_plain(state, 1)
    blob.close()
    with pytest.raises(ValueError, match="wiped"):
        _ = blob.address
    bench.close()
