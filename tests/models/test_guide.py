"""The shipped guide: a sound file of the promised kind, and answers as good as its card says, of the right weights."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from lumen_box.gguf.model import Gguf
from lumen_box.gguf.reader import read_header
from models.guide import evaluate
from models.guide.conversations import Question

FOLDER = Path(evaluate.__file__).parent
BLOCK = {"Q8_0": 34, "F32": 4}  # bytes of the smallest unit that can change its place
SHARE = 5  # one question of so many is asked here; `make evaluate-guide` asks all


def header(path: Path) -> Gguf:
    data = path.read_bytes()
    return read_header(lambda offset, count: data[offset : offset + count], len(data))


def some(questions: list[Question]) -> list[Question]:
    return questions[::SHARE]


@pytest.fixture(scope="module")
def guide() -> evaluate.Ask:
    return evaluate.load(evaluate.MODEL)


@pytest.fixture(scope="module")
def figures() -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads((FOLDER / "evaluation.json").read_text())
    return found


def test_it_is_the_promised_kind_of_model() -> None:
    found = header(evaluate.MODEL)
    assert evaluate.MODEL.stat().st_size <= 16_000_000
    assert (found.architecture, found.quantisation, found.context_length) == ("llama", "Q8_0", 2048)
    assert 8_000_000 <= found.parameter_count <= 12_000_000
    assert found.parameter_count == json.loads((FOLDER / "training.json").read_text())["parameters"]
    assert "<|im_start|>" in (found.chat_template or "")


def test_any_byte_can_be_written(guide: evaluate.Ask) -> None:
    assert len({token for token in header(evaluate.MODEL).tokens if len(token) == 1}) == 256
    assert guide("\0é你🎉 ﷽")


@pytest.mark.parametrize("name", ["handbook", "unknown", "passages"])
def test_it_answers_as_well_as_the_card_says(
    guide: evaluate.Ask, figures: dict[str, dict[str, float]], name: str
) -> None:
    questions = evaluate.sets()[name]
    assert len(questions) == figures[name]["asked"]
    result = evaluate.score(name, some(questions), guide)
    assert 100 * result.share >= figures[name]["percent"] - 12, result.wrong  # a fifth of the questions scatters
    assert f"{figures[name]['percent']} %" in (FOLDER / "card.md").read_text()


def shuffled(path: Path) -> Path:
    """A copy whose tensors hold the same values in other places."""
    draw, found = random.Random(1), header(evaluate.MODEL)
    data = bytearray(evaluate.MODEL.read_bytes())
    for tensor in found.tensors:
        start, size = found.data_offset + tensor.offset, BLOCK[tensor.type.name]
        blocks = [bytes(data[at : at + size]) for at in range(start, start + tensor.size, size)]
        draw.shuffle(blocks)
        data[start : start + tensor.size] = b"".join(blocks)
    path.write_bytes(data)
    return path


def test_with_shuffled_weights_it_knows_nothing(tmp_path: Path) -> None:
    stranger = evaluate.load(shuffled(tmp_path / "shuffled.gguf"))
    for name, questions in evaluate.sets().items():
        assert evaluate.score(name, questions[::20], stranger).share <= 0.02
