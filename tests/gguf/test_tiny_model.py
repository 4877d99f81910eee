"""The test model is a real one: llama.cpp loads it, any byte is tokenized, and it says what it was built to say."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support import tiny_model, tiny_vocabulary


@pytest.fixture(scope="module")
def llama() -> Any:
    """llama-cpp-python's own high-level class, over the engine library that the box uses."""
    os.environ.setdefault("LLAMA_CPP_LIB_PATH", str(Path(sys.prefix, "lib", "lumen-box", "engine")))
    from llama_cpp import Llama

    return lambda path, n_ctx=256: Llama(str(path), n_ctx=n_ctx, n_threads=1, verbose=False)


@pytest.fixture(scope="module")
def plain(llama: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return llama(tiny_model.write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf"))


def test_it_is_written_in_a_moment(tmp_path: Path) -> None:
    begun = time.monotonic()
    path = tiny_model.write_tiny_model(tmp_path / "tiny.gguf")
    assert time.monotonic() - begun < 5
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    one, two, other = (
        tiny_model.write_tiny_model(tmp_path / f"{n}.gguf", seed=seed).read_bytes() for n, seed in enumerate((1, 1, 2))
    )
    assert one == two != other


def test_every_byte_survives_tokenizing(plain: Any) -> None:
    text = "".join(chr(code) for code in range(0x20, 0x300)) + " 你好 🎉\n\t\r"
    tokens = plain.tokenize(text.encode(), add_bos=False)
    assert plain.detokenize(tokens) == text.encode()
    assert set(plain.tokenize(b"\xff\x00\xfe", add_bos=False)) <= set(range(256))


def test_common_words_are_whole_tokens_and_foreign_characters_several(plain: Any) -> None:
    assert len(plain.tokenize(b" the answer", add_bos=False)) == 2
    assert len(plain.tokenize("🎉".encode(), add_bos=False)) > 1


def test_sampling_is_varied_and_does_not_end_by_itself(plain: Any) -> None:
    said = [token for token, _ in zip(plain.generate([1, 2, 3], temp=1.0), range(120), strict=False)]
    assert len(set(said)) > 50
    assert plain.token_eos() not in said


@pytest.mark.parametrize("quantisation", ["F32", "F16", "Q8_0"])
def test_a_script_is_said_to_the_letter_and_ends(llama: Any, tmp_path: Path, quantisation: str) -> None:
    script: list[str | bytes] = ["<think>", " hm", "</think>", "Caf", b"\xc3", b"\xa9", " \U0001f389", " done"]
    path = tiny_model.write_tiny_model(tmp_path / "scripted.gguf", script=script, quantisation=quantisation)
    for temperature in (0.0, 1.0):
        answer = llama(path).create_chat_completion([{"role": "user", "content": "Hi"}], temperature=temperature)
        assert answer["choices"][0]["message"]["content"] == "<think> hm</think>Café 🎉 done"
        assert answer["choices"][0]["finish_reason"] == "stop"


def test_a_high_end_bias_ends_the_answer_at_once(llama: Any, tmp_path: Path) -> None:
    path = tiny_model.write_tiny_model(tmp_path / "brief.gguf", end_bias=40.0)
    answer = llama(path)("Hello", max_tokens=50)
    assert answer["usage"]["completion_tokens"] <= 1
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_planted_words_and_tensor_names_stand_in_the_file(tmp_path: Path) -> None:
    raw = tiny_model.write_tiny_model(tmp_path / "tiny.gguf").read_bytes()
    assert tiny_model.TELLTALE_TOKEN.encode() in raw
    assert tiny_model.TELLTALE_TENSOR.encode() in raw


def test_a_bigger_vocabulary_is_filled_with_tokens_that_are_never_said(llama: Any, tmp_path: Path) -> None:
    path = tiny_model.write_tiny_model(
        tmp_path / "wide.gguf", vocabulary_size=2000, layers=6, width=96, heads=3, kv_heads=3
    )
    model = llama(path)
    assert model.n_vocab() == 2000
    assert "filler" not in model("Hello", max_tokens=60)["choices"][0]["text"]


def test_too_long_a_script_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="steering"):
        tiny_model.write_tiny_model(tmp_path / "x.gguf", script=[f" w{n}" for n in range(40)])


def test_spelling_is_reversible() -> None:
    assert len(set(tiny_vocabulary.byte_letters().values())) == 256
