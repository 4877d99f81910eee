"""A decoder on a real model inside the test's own process, for tests that look at what it keeps."""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lumen_box.engine.answering import Answering
from lumen_box.engine.decoder import Decoder
from lumen_box.engine.llama import Context, ContextSize, Model
from lumen_box.engine.protocol import Event, Finished, Generate, Logprob, Queued, Tokens
from lumen_box.engine.sampling import GREEDY
from tests.engine.support import Said

CONTEXT = 512


def load(gguf: Path) -> Model:
    c = ctypes.CDLL(None)
    c.fopen.restype, c.fopen.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_char_p]
    return Model(ctypes.c_void_p(c.fopen(str(gguf).encode(), b"rb")), gpu_layers=0, progress=lambda done: None)


def prompt(seed: int, length: int) -> tuple[int, ...]:
    """Ordinary tokens that differ from the first one on for every seed."""
    return tuple(np.random.default_rng(seed).integers(5, 250, length).tolist())


@dataclass
class Outcome:
    """What one request came to. ``first`` are the most likely first tokens with the logarithms of their chances."""

    ids: list[int] = field(default_factory=list)
    logprobs: list[Logprob] = field(default_factory=list)
    queued: list[int] = field(default_factory=list)
    finished: Finished | None = None

    @property
    def cached(self) -> int:
        assert self.finished
        return self.finished.usage.cached_tokens

    @property
    def first(self) -> dict[int, float]:
        return {one.token: one.logprob for one in self.logprobs[0].top}


class Bench:
    """Asks, steps and gathers. ``room`` is in bytes."""

    def __init__(self, model: Model, slots: int = 2, budget: int = 64, room: int = 1 << 24) -> None:
        self.model = model
        self.context = Context(model, ContextSize(CONTEXT, slots, budget, 1))
        self.decoder = Decoder(self.context, slots, budget, room=room)
        self.outcomes: dict[int, Outcome] = {}
        self._numbers = itertools.count(1)

    def close(self) -> None:
        self.context.close()

    def ask(self, owner: str, tokens: tuple[int, ...], most: int = 8, **more: object) -> int:
        number = next(self._numbers)
        request = Generate(prompt=tokens, sampling=GREEDY, max_tokens=most, owner=owner, logprobs=20, id=number)
        request = Generate(**(vars(request) | more))
        self.outcomes[number] = Outcome()
        self.decoder.add(Answering(request, list(tokens), self.model, CONTEXT, None))
        return number

    def step(self) -> None:
        for event in self.decoder.step():
            self.hear(event)

    def hear(self, event: Event | None) -> None:
        match event:
            case Tokens(number, ids, _, _, logprobs):
                self.outcomes[number].ids += ids
                self.outcomes[number].logprobs += logprobs
            case Queued(number, ahead):
                self.outcomes[number].queued.append(ahead)
            case Finished(number):
                self.outcomes[number].finished = event

    def run(self) -> None:
        while self.decoder:
            self.step()

    def answer(self, owner: str, tokens: tuple[int, ...], most: int = 8, **more: object) -> Outcome:
        """One request from its beginning to its end, with nothing else going on."""
        number = self.ask(owner, tokens, most, **more)
        self.run()
        return self.outcomes[number]


def fresh(model: Model, tokens: tuple[int, ...], most: int = 8) -> Outcome:
    """The same request in an engine that has never seen another."""
    bench = Bench(model, room=0)
    try:
        return bench.answer("", tokens, most)
    finally:
        bench.close()


def apart(one: Outcome | Said, other: Outcome | Said) -> float:
    """The largest difference between the chances of the first token, among the likely ones of either; infinite where
    the two do not even agree on most of those."""
    both = one.first.keys() & other.first.keys()
    return max(abs(one.first[token] - other.first[token]) for token in both) if len(both) > 15 else math.inf


def needles(model: Model, tokens: tuple[int, ...], length: int = 48) -> Iterator[bytes]:
    """Pieces of the KV state that reading these tokens leaves: no other text leaves the same."""
    context = Context(model, ContextSize(CONTEXT, 1, 64, 1))
    for start in range(0, len(tokens), 64):
        context.decode([(0, start, tokens[start : start + 64], False)])
    blob = context.cells.save(0)
    assert blob
    state = ctypes.string_at(blob.address, blob.size)
    for place in (len(state) // 3, len(state) // 2, len(state) * 2 // 3):
        yield state[place : place + length]
    blob.close()
    context.close()
