"""Models that cannot be loaded: a sentence and a code, and only the worker dies. And the check before installing."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from lumen_box.engine.process import Weights
from lumen_box.engine.supervisor import Engine, check
from lumen_box.engine.weights import BLOCK
from lumen_box.errors import Damaged, LumenError, TooNew, WrongKey
from lumen_box.gguf import values as v
from tests.engine.support import PATIENCE, SETTINGS, ask, encrypt, launcher, running, weights
from tests.support import bad_gguf, good_gguf
from tests.support.tiny_model import write_tiny_model

ABORTS = "same token twice"  # an assertion of llama.cpp, which ends the process


def bad(name: str) -> bytes:
    return next(one.data for one in bad_gguf.files() if one.name == name)


def object_of(folder: Path, data: bytes) -> Path:
    plain = folder / "plain"
    plain.write_bytes(data)
    return encrypt(plain)


def start(of: Weights) -> None:
    async def run() -> None:
        engine = Engine(of, SETTINGS, launch=launcher(), patience=PATIENCE)
        try:
            await engine.start()
        finally:
            assert engine.status().state == "stopped"
            assert engine.status().pid == 0

    asyncio.run(run())


def test_a_model_that_makes_llama_cpp_abort_ends_its_worker_only(tmp_path: Path, stored: Path) -> None:
    aborting = object_of(tmp_path, bad(ABORTS))

    async def run() -> None:
        async with running(stored) as other:
            with pytest.raises(Damaged, match="stopped while it was loading"):
                await Engine(weights(aborting), SETTINGS, launch=launcher(), patience=PATIENCE).start()
            assert len((await ask(other, "Hello")).ids) == 24
            assert other.status().restarts == 0

    asyncio.run(run())


def with_architecture(name: str) -> bytes:
    metadata = good_gguf.header()
    renamed = {key.replace("llama.", f"{name}."): value for key, value in metadata.items()}
    return good_gguf.file(renamed | {"general.architecture": v.text(name)}, good_gguf.tensors(metadata))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", Damaged),
        (b"GGUF", Damaged),
        (b"\0" * 100_000, Damaged),
        (bad("key twice"), Damaged),
        (with_architecture("futurelm"), TooNew),
    ],
    ids=["empty", "cut", "zeros", "key twice", "unknown architecture"],
)
def test_what_is_no_model_is_refused_with_its_code(tmp_path: Path, data: bytes, error: type[LumenError]) -> None:
    with pytest.raises(error):
        start(weights(object_of(tmp_path, data)))


def test_the_wrong_key_and_damaged_weights_are_told_apart(tmp_path: Path, stored: Path) -> None:
    with pytest.raises(WrongKey):
        start(weights(stored, key=bytes(32)))
    raw = bytearray(stored.read_bytes())
    raw[-1000] ^= 4
    flipped = tmp_path / "flipped"
    flipped.write_bytes(raw)
    with pytest.raises(Damaged, match="Chunk"):
        start(weights(flipped))
    with pytest.raises(Damaged, match="size"):
        start(dataclasses.replace(weights(stored), stored_size=5))


def test_what_the_caller_cannot_give_is_the_callers_error(stored: Path, tmp_path: Path) -> None:
    def sealed() -> bytes:
        raise WrongKey("The box is sealed.")

    with pytest.raises(FileNotFoundError):
        start(dataclasses.replace(weights(stored), open=lambda: (tmp_path / "none").open("rb").fileno()))
    with pytest.raises(WrongKey, match="sealed"):
        start(dataclasses.replace(weights(stored), key=sealed))


def test_the_check_lays_a_model_out_without_reading_its_weights(tmp_path: Path) -> None:
    """Everything behind the first two blocks is spoilt, so reading all of the weights would fail."""
    gguf = write_tiny_model(tmp_path / "large.gguf", layers=8, width=256, hidden=1024)
    stored = encrypt(gguf)
    spoilt = bytearray(stored.read_bytes())
    assert len(spoilt) > 3 * BLOCK
    spoilt[2 * BLOCK :] = bytes(len(spoilt) - 2 * BLOCK)
    stored.write_bytes(spoilt)

    facts = asyncio.run(check(weights(stored), SETTINGS, launch=launcher(), patience=PATIENCE))
    assert (facts.architecture, facts.trained_context, facts.layers) == ("llama", 512, 8)
    assert facts.parameters > 5_000_000
    assert (facts.bos, facts.eos) == ("<|bos|>", "<|im_end|>")
    assert "im_start" in facts.chat_template
    with pytest.raises(Damaged):
        start(weights(stored))


def test_the_check_parses_strictly_before_llama_cpp_does(tmp_path: Path) -> None:
    """The same file makes llama.cpp abort; here it is refused with the parser's words."""
    with pytest.raises(Damaged, match="same token twice"):
        asyncio.run(check(weights(object_of(tmp_path, bad(ABORTS))), SETTINGS, launch=launcher(), patience=PATIENCE))


def test_context_and_places_follow_the_settings_and_the_model(tmp_path: Path) -> None:
    stored = encrypt(write_tiny_model(tmp_path / "m.gguf", context=700))

    async def run() -> None:
        for context, expected in ((0, 700), (300, 300), (100_000, 700)):
            async with running(stored, dataclasses.replace(SETTINGS, context=context, parallel=2)) as engine:
                assert engine.facts
                assert (engine.facts.context, engine.facts.parallel) == (expected, 2)
                said = await ask(engine, "Hello", max_tokens=None)
                assert said.reason in ("stop", "length")
                assert said.prompt_tokens + len(said.ids) == expected

    asyncio.run(run())
