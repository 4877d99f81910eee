"""The tokenizer of the test model: byte-level pair encoding in the GPT-2 way, learnt here from a page of text.

Every byte has a token of its own, so any text can be written, and a character of several bytes is usually spread
over several tokens. The two ends of the "split" characters below exist as tokens, too, so that the model can say
them and a stream has to hold back half a character.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
BOS, START, END = "<|bos|>", "<|im_start|>", "<|im_end|>"
THINK, THOUGHT = "<think>", "</think>"
SPLIT = ((b"\xc3", b"\xa9"), (b"\xe4", b"\xbd\xa0"), (b"\xf0\x9f", b"\x8e\x89"))  # é, 你, 🎉

TEXT = """
The box stands in the cellar of the hospital and has no way out of the building. It reads what the clerk writes and
answers in the words that it has learnt. A nurse on the night ward asks about a letter of discharge; the answer names
the patient, the doctor, the date and the dose, and says where it is not sure. The bank asks for a summary of a long
contract, the ministry for a translation of a short one. Nobody outside hears any of it. When a new model arrives on a
disk, the operator reads the fingerprint aloud, the box checks the signature, and the old model stays until the new one
has shown that it can speak. Every step is written down, so that the auditor can see who did what, and when.
In the morning the same people ask other things: how many beds are free, which of the letters must go today, what the
law says about records older than ten years. The box does not know the weather and does not pretend to. It is patient,
it is quick enough, and it forgets what it was told to forget. One question at a time, or thirty at once; a hundred
pages or three words: please summarise, translate, explain, compare, correct, shorten, list, count, and check again.
system user assistant question answer sentence paragraph report table figure number first second third last next
"""

_PIECES = re.compile(r" ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+")


@functools.cache
def byte_letters() -> dict[int, str]:
    """GPT-2's letter for every byte: itself where it prints, otherwise one from 256 upwards."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + rank) for rank, byte in enumerate(others)}


def spelled(raw: bytes) -> str:
    """``raw`` in byte letters, as the vocabulary writes it."""
    return "".join(byte_letters()[byte] for byte in raw)


def _merge(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    for letter in word:
        if out and (out[-1], letter) == pair:
            out[-1] += letter
        else:
            out.append(letter)
    return tuple(out)


@functools.cache
def learn_merges(count: int) -> tuple[tuple[str, str], ...]:
    """Up to ``count`` merges, most frequent pair first, ties by spelling."""
    words = Counter(tuple(spelled(piece.encode())) for piece in _PIECES.findall(TEXT))
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, times in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += times
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = Counter({_merge(word, best): times for word, times in words.items()})
    return tuple(merges)


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in byte letters (special ones in plain text), with llama.cpp's type of each."""

    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[tuple[str, str], ...]

    def id(self, token: str | bytes) -> int:
        """The id of a special token's text, or of the token that stands for exactly these bytes."""
        raw = token.encode() if isinstance(token, str) else token
        if isinstance(token, str) and token in self.special_ids:
            return self.special_ids[token]
        return self.tokens.index(spelled(raw))

    @property
    def special_ids(self) -> dict[str, int]:
        return {self.tokens[i]: i for i, kind in enumerate(self.types) if kind != NORMAL}


def build(merges: int, planted: Sequence[bytes], reasoning: tuple[str, str], size: int | None) -> Vocabulary:
    """256 bytes, the learnt merges, planted whole tokens, five special ones, then fillers up to ``size``."""
    learnt = learn_merges(merges)
    normal = [spelled(bytes([byte])) for byte in range(256)] + [first + second for first, second in learnt]
    extra = [spelled(raw) for raw in (*(half for pair in SPLIT for half in pair), *planted)]
    normal = list(dict.fromkeys(normal + extra))
    special = [BOS, START, END, *reasoning]
    fillers = [f"filler{number}" for number in range((size or 0) - len(normal) - len(special))]
    types = [NORMAL] * len(normal) + [CONTROL] * 3 + [USER_DEFINED] * len(reasoning) + [NORMAL] * len(fillers)
    return Vocabulary((*normal, *special, *fillers), tuple(types), learnt)
