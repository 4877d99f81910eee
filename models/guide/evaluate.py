"""Measures the shipped guide as llama.cpp runs it: ``python -m models.guide.evaluate``, or ``make evaluate-guide``.

Three figures, each on questions that training never saw, with temperature 0:

handbook    the whole answer, word for word, to a held wording in a held frame
unknown     the refusal, word for word, to a question about something else
passages    the span, and nothing else, that answers a question about a made-up passage
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import conversations, passages
from .conversations import Question

FOLDER = Path(__file__).parent
MODEL = FOLDER / "guide.gguf"
UNKNOWN, PASSAGES = 150, 200
RUN = 8  # words in a row that an evaluated question must not share with the training text
ANSWER_TOKENS = 96

Ask = Callable[[str], str]


@dataclass(frozen=True)
class Score:
    name: str
    right: int
    asked: int
    wrong: tuple[tuple[str, str, str], ...]  # question, what was expected, what was said

    @property
    def share(self) -> float:
        return self.right / self.asked

    def line(self) -> str:
        return f"{self.name:10} {self.right:4} of {self.asked:4}   {100 * self.share:5.1f} %"


def load(path: Path) -> Ask:
    """A function that asks the model one question, by itself, and returns what it says.

    The engine library is the one that `make engine` has linked, unless LLAMA_CPP_LIB_PATH names another.
    """
    os.environ.setdefault("LLAMA_CPP_LIB_PATH", str(Path(sys.prefix, "lib", "lumen-box", "engine")))
    from llama_cpp import Llama

    model = Llama(str(path), n_ctx=2048, n_threads=1, n_threads_batch=1, verbose=False, seed=1)

    def ask(text: str) -> str:
        messages: Any = [{"role": "user", "content": text}]
        answer: Any = model.create_chat_completion(messages, temperature=0.0, max_tokens=ANSWER_TOKENS)
        return str(answer["choices"][0]["message"]["content"]).strip()

    return ask


def expected(question: Question) -> str:
    return passages.said(question.answer) if question.topic == "passage" else question.answer


def score(name: str, questions: Sequence[Question], ask: Ask) -> Score:
    """An answer counts if it is the expected one to the last letter."""
    answers = ((question, ask(question.text)) for question in questions)
    wrong = [(one.text, expected(one), said) for one, said in answers if said != expected(one)]
    return Score(name, len(questions) - len(wrong), len(questions), tuple(wrong))


def sets() -> dict[str, list[Question]]:
    return {
        "handbook": conversations.held_handbook(),
        "unknown": conversations.held_unknown(UNKNOWN),
        "passages": conversations.held_passages(PASSAGES),
    }


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def runs(text: str) -> Iterator[tuple[str, ...]]:
    found = words(text)
    return (tuple(found[at : at + RUN]) for at in range(len(found) - RUN + 1))


def shared_runs(questions: Iterable[Question], seed: int, count: int) -> list[str]:
    """The questions that share a run of eight words with the first ``count`` conversations of the training text."""
    asked = {run: question.text for question in questions for run in runs(question.text)}
    stream = itertools.islice(conversations.training(seed), count)
    return sorted({asked[run] for talk in stream for _, text in talk for run in runs(text) if run in asked})


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the guide.")
    parser.add_argument("model", nargs="?", type=Path, default=MODEL)
    parser.add_argument("--wrong", action="store_true", help="show what was answered wrongly")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    asked = parser.parse_args()
    ask = load(asked.model)
    figures = {}
    for name, questions in sets().items():
        result = score(name, questions, ask)
        print(result.line(), flush=True)
        figures[name] = {"right": result.right, "asked": result.asked, "percent": round(100 * result.share, 1)}
        for question, right, said in result.wrong if asked.wrong else ():
            print(f"  ? {question!r}\n  = {right}\n  - {said}")
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
