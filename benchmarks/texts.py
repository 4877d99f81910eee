"""What the clients ask: words from the test tokenizer's own page, drawn anew for every run.

A word takes about one and a half tokens. The same seed gives the same text; two runs must not share one, because either
server would answer the second from what it kept of the first.
"""

from __future__ import annotations

import random
import re
from typing import Final

from tests.support.tiny_vocabulary import TEXT

WORDS: Final = tuple(re.findall(r"[A-Za-z]+", TEXT))
SENTENCE: Final = 15  # words

Messages = list[dict[str, str]]


class Writer:
    """Texts of so many words from one seed; ``None`` draws a seed that was never used."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # None: from the operating system

    def text(self, words: int) -> str:
        drawn = [self._random.choice(WORDS) for _ in range(words)]
        sentences = [" ".join(drawn[at : at + SENTENCE]) for at in range(0, words, SENTENCE)]
        return ". ".join(sentences) + "."

    def question(self, words: int, system: str = "") -> Messages:
        """A conversation of one question, under a system prompt where there is one."""
        asked = {"role": "user", "content": self.text(words)}
        return [{"role": "system", "content": system}, asked] if system else [asked]
