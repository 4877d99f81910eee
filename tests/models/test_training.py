"""Training from nothing, as `make train-guide` does it, for a minute instead of half an hour.

PyTorch is in an environment of its own, build/train, which `make test` and `make train-guide` set up.
"""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import pytest

from lumen_box.gguf.reader import read_header
from models.guide import evaluate

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / "build" / "train" / "bin" / "python"
STEPS = 25


def train(folder: Path) -> list[float]:
    """The losses of a few steps."""
    assert PYTHON.exists(), "PyTorch is not installed for training: run `make build/train/installed`."
    command = ["-m", "models.guide.train", "--steps", str(STEPS), "--threads", "1", "--folder", str(folder)]
    done = subprocess.run([PYTHON, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with (folder / "loss.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.slow
def test_a_short_training_learns_and_can_be_repeated(tmp_path: Path) -> None:
    losses = train(tmp_path / "first")
    assert losses[0] > 7 > 5 > min(losses[-3:])  # from knowing nothing of some thousand tokens, ln 4059 = 8.3
    assert train(tmp_path / "again") == losses
    made, again = (tmp_path / name / "guide.gguf" for name in ("first", "again"))
    data = made.read_bytes()
    assert data == again.read_bytes()
    shipped = evaluate.MODEL.read_bytes()
    mine, theirs = (read_header(lambda at, count, d=d: d[at : at + count], len(d)) for d in (data, shipped))
    assert (mine.tokens, mine.chat_template) == (theirs.tokens, theirs.chat_template)
    assert [(one.name, one.shape) for one in mine.tensors] == [(one.name, one.shape) for one in theirs.tensors]
    assert evaluate.load(made)("How do I stop the gateway?") is not None
