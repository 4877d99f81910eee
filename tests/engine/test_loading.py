"""Models that cannot be loaded: a sentence and a code, and only the worker dies. And the check before installing."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from lumen_box.config import EngineSettings
from lumen_box.engine.process import Weights
from lumen_box.engine.supervisor import Engine, check
from lumen_box.engine.weights import BLOCK
from lumen_box.errors import Damaged, LumenError, NoSpace, TooNew, UsageError, WrongKey
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


def limit_of(pid: int, name: str) -> str:
    """The soft limit of a process as the kernel states it."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line[26:].split()[0] for line in lines if line.startswith(name))


def test_what_does_not_fit_is_refused_before_anything_is_allocated(stored: Path) -> None:
    engine = Engine(weights(stored), SETTINGS, launch=launcher(), patience=PATIENCE, memory=lambda: 100 << 20)
    with pytest.raises(NoSpace, match=r"4 × 512 tokens of context it needs \d+ MiB, and 100 MiB are there") as refused:
        asyncio.run(engine.start())
    assert refused.value.exit_code == 23
    assert "engine.context" in refused.value.then
    assert engine.status().pid == 0


def test_little_memory_makes_sequences_few_and_settings_of_nought_are_filled_in(tmp_path: Path) -> None:
    """The same model and settings, with much memory and with little."""
    stored = encrypt(write_tiny_model(tmp_path / "m.gguf", context=16_384, heads=2, kv_heads=2))
    settings = EngineSettings(threads=1)

    async def run() -> None:
        found = []
        for memory in (8 << 30, 456 << 20):
            async with running(stored, settings, memory=lambda memory=memory: memory) as engine:
                facts = engine.facts
                assert facts
                found.append(facts)
                assert (await ask(engine, "Hello")).finished
                assert limit_of(engine.status().pid, "Max data size") != "unlimited"
                assert limit_of(engine.status().pid, "Max core file size") == "0"
                assert facts.kv_bytes + facts.model_bytes < facts.host_bytes < memory
                assert facts.kv_bytes < facts.resident_bytes < facts.host_bytes
        much, little = found
        assert (much.parallel, much.context, much.kv_type, much.flash_attention) == (32, 16_384, "f16", False)
        assert little.parallel * little.context < much.parallel * much.context
        assert much.reasons != little.reasons

    asyncio.run(run())


def test_a_cache_in_q8_0_answers_with_flash_attention_and_half_the_memory(tmp_path: Path) -> None:
    stored = encrypt(write_tiny_model(tmp_path / "m.gguf", heads=2, kv_heads=2))

    async def run() -> None:
        taken = {}
        for kv_type in ("f16", "q8_0"):
            async with running(stored, dataclasses.replace(SETTINGS, kv_type=kv_type)) as engine:
                assert engine.facts
                assert (engine.facts.kv_type, engine.facts.flash_attention) == (kv_type, kv_type == "q8_0")
                assert len((await ask(engine, "Hello", max_tokens=8)).ids) == 8
                taken[kv_type] = engine.facts.kv_bytes
        assert taken["q8_0"] * 32 == taken["f16"] * 17

    asyncio.run(run())


def test_settings_that_do_not_suit_the_model_are_the_operators_error(stored: Path) -> None:
    """The tiny model's heads are 16 wide."""
    engine = Engine(weights(stored), dataclasses.replace(SETTINGS, kv_type="q8_0"), launch=launcher())
    with pytest.raises(UsageError, match="not multiples of 32"):
        asyncio.run(engine.start())


def test_a_check_asks_for_no_memory_and_has_a_limit_of_processor_time(stored: Path) -> None:
    huge = dataclasses.replace(SETTINGS, parallel=256, context=10**6, cache_mib=10**6)
    assert asyncio.run(check(weights(stored), huge, launch=launcher(), patience=PATIENCE)).parallel == 2
