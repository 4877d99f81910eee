"""Turning a stranger's text into tokens without letting it crash the process.

Many vocabularies (Mistral's and DeepSeek's among them) split text by patterns that llama.cpp hands to ``std::regex``,
which recurses once for every character of a run of letters, digits or spaces: on an ordinary stack 25,000 of them in a
row end the process. So such a text gets a thread with a stack of its size, gone again afterwards, and a run longer than
any real one is refused.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Final

from ..errors import LumenError, TooLong
from .llama import Model

STACK_PER_CHARACTER: Final = 512  # bytes; measured: up to 336
ORDINARY_RUN: Final = 8_000  # characters that any thread's stack can take
LONGEST_RUN: Final = 2_000_000
_RUNS: Final = re.compile(r"\S+|\s+")


def tokenize(model: Model, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
    """``Model.tokenize`` for any text.

    Raises:
        TooLong: a run without white space, or of nothing else, is longer than ``LONGEST_RUN``.
    """
    run = longest_run(text)
    if run > LONGEST_RUN:
        raise TooLong(
            f"The prompt has {run} characters in a row without a space; {LONGEST_RUN} can be read.",
            then="Shorten the prompt.",
        )

    def work() -> list[int]:
        return model.tokenize(text, add_special=add_special, parse_special=parse_special)

    return work() if run <= ORDINARY_RUN else on_stack(run * STACK_PER_CHARACTER, work)


def longest_run(text: str) -> int:
    """The length of the longest stretch that is all white space or holds none."""
    return max((found.end() - found.start() for found in _RUNS.finditer(text)), default=0)


def on_stack(size: int, work: Callable[[], list[int]]) -> list[int]:
    """``work`` in a thread of its own with ``size`` bytes of stack. One caller at a time: the size is the process's."""
    outcome: list[list[int] | LumenError] = []

    def run() -> None:
        try:
            outcome.append(work())
        except LumenError as error:
            outcome.append(error)

    before = threading.stack_size(-(-size // 4096) * 4096)
    try:
        thread = threading.Thread(target=run, name="large text")
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    if isinstance(outcome[0], LumenError):
        raise outcome[0]
    return outcome[0]
