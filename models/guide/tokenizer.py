"""Byte-level pair encoding in the GPT-2 way, learnt from the guide's own text and from nothing else.

Every byte is a token, so any text can be written. Digits never merge: a number is read and copied digit by digit.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

BOS, START, END = "<|bos|>", "<|im_start|>", "<|im_end|>"
NORMAL, CONTROL = 1, 3  # llama.cpp's types of tokens

# GPT-2's pieces (llama.cpp's `gpt-2`), as far as Python's own expressions can say them.
_PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


@functools.cache
def letters() -> dict[int, str]:
    """GPT-2's letter for every byte: itself where it prints, otherwise one from 256 upwards."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + rank) for rank, byte in enumerate(others)}


def spelled(text: str) -> str:
    """Text in byte letters, as the vocabulary writes it."""
    return "".join(letters()[byte] for byte in text.encode())


@dataclass(frozen=True)
class Tokenizer:
    """256 bytes, then one token a merge, then the three special ones."""

    merges: tuple[tuple[str, str], ...]

    @functools.cached_property
    def tokens(self) -> tuple[str, ...]:
        return (*(letters()[byte] for byte in range(256)), *(a + b for a, b in self.merges), BOS, START, END)

    @property
    def types(self) -> list[int]:
        return [NORMAL] * (len(self.tokens) - 3) + [CONTROL] * 3

    @functools.cached_property
    def ids(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    @functools.cached_property
    def _ranks(self) -> dict[tuple[str, str], int]:
        return {pair: rank for rank, pair in enumerate(self.merges)}

    @functools.cached_property
    def _known(self) -> dict[str, list[int]]:
        return {}

    def _piece(self, piece: str) -> list[int]:
        if piece not in self._known:
            parts = list(spelled(piece))
            while len(parts) > 1:
                ranked = [
                    (self._ranks.get(pair, len(self._ranks)), at) for at, pair in enumerate(itertools.pairwise(parts))
                ]
                rank, at = min(ranked)
                if rank == len(self._ranks):
                    break
                parts[at : at + 2] = [parts[at] + parts[at + 1]]
            self._known[piece] = [self.ids[part] for part in parts]
        return self._known[piece]

    def encode(self, text: str) -> list[int]:
        """The tokens of a text without special tokens."""
        return [token for piece in _PIECES.findall(text) for token in self._piece(piece)]


def learn(texts: Iterable[str], count: int) -> Tokenizer:
    """Up to ``count`` merges, the most frequent pair first, ties by spelling."""
    pieces = Counter(piece for text in texts for piece in _PIECES.findall(text))
    words = [(list(spelled(piece)), times) for piece, times in sorted(pieces.items())]
    pairs: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], set[int]] = defaultdict(set)
    for number, (parts, times) in enumerate(words):
        for pair in itertools.pairwise(parts):
            pairs[pair] += times
            where[pair].add(number)
    merges: list[tuple[str, str]] = []
    made: set[str] = set()
    while len(merges) < count:
        allowed = [pair for pair, times in pairs.items() if times > 1 and _may_merge(pair, made)]
        if not allowed:
            break
        best = min(allowed, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        made.add(best[0] + best[1])
        for number in where.pop(best):
            _merge(words, number, best, pairs, where)
        del pairs[best]
    return Tokenizer(tuple(merges))


def _may_merge(pair: tuple[str, str], made: set[str]) -> bool:
    whole = pair[0] + pair[1]
    return whole not in made and not any(letter.isdigit() for letter in whole)


def _merge(
    words: list[tuple[list[str], int]],
    number: int,
    best: tuple[str, str],
    pairs: Counter[tuple[str, str]],
    where: dict[tuple[str, str], set[int]],
) -> None:
    parts, times = words[number]
    for pair in itertools.pairwise(parts):
        pairs[pair] -= times
    out: list[str] = []
    for part in parts:
        if out and (out[-1], part) == best:
            out[-1] += part
        else:
            out.append(part)
    words[number] = (out, times)
    for pair in itertools.pairwise(out):
        pairs[pair] += times
        where[pair].add(number)
