"""Two hundred conversations of eight people through few places and a small cache, on a model that gives away at once
whatever of another's it attends to; then twenty of them go on, and say what a fresh engine says."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path

from lumen_box.config import EngineSettings
from lumen_box.engine.supervisor import Engine
from tests.engine.bench import apart, prompt
from tests.engine.support import CONTEXT, Said, ask, encrypt, running
from tests.support.telling import write_parrot

MARKERS = (
    "Abernathy",
    "Birtwistle",
    "Cholmondeley",
    "Dalrymple",
    "Entwhistle",
    "Fotheringay",
    "Gillingham",
    "Hargreave",
)
CONVERSATIONS, CONTINUED = 200, 20
# As in test_reuse, between logarithms of probability. (Measured on x86-64 with this model: no difference at all.)
TOLERANCE = 0.02
SMALL = EngineSettings(parallel=4, context=CONTEXT, batch=256, threads=1, cache_mib=1)
ALONE = EngineSettings(parallel=1, context=CONTEXT, batch=256, threads=1, cache_mib=0)
GREETING = prompt(999, 30)  # how everybody's conversations begin


@dataclass(frozen=True)
class Talk:
    """One conversation: whose, what was asked, and the tokens of whichever markers were in it."""

    owner: int
    tokens: tuple[int, ...]
    markers: frozenset[int]

    def further(self, said: Said, seed: int) -> Talk:
        return Talk(self.owner, (*self.tokens, *said.ids, *prompt(seed, 12)), self.markers)


def talks(markers: tuple[int, ...]) -> list[Talk]:
    """Every second conversation of everybody has their marker in it, right after the greeting that all share."""
    dice = random.Random(3)
    made = []
    for number in range(CONVERSATIONS):
        owner = number % len(markers)
        planted = markers[owner : owner + 1] if number // len(markers) % 2 else ()
        rest = prompt(number, dice.randrange(40, 120))
        made.append(Talk(owner, (*GREETING, *planted, *rest), frozenset(planted)))
    return made


async def answers(engine: Engine, asked: list[Talk]) -> list[Said]:
    return await asyncio.gather(
        *[ask(engine, one.tokens, owner=f"user {one.owner}", max_tokens=6, logprobs=20) for one in asked]
    )


def cached(said: Said) -> int:
    assert said.finished
    return said.finished.usage.cached_tokens


def test_two_hundred_conversations_of_eight_people_stay_apart(tmp_path: Path) -> None:
    markers = write_parrot(tmp_path / "parrot.gguf", MARKERS)
    stored = encrypt(tmp_path / "parrot.gguf")
    begun = talks(markers)
    dice = random.Random(5)
    chosen = [*dice.sample(range(100), CONTINUED // 2), *dice.sample(range(180, CONVERSATIONS), CONTINUED // 2)]

    async def talk() -> tuple[list[Said], list[Talk], list[Said], list[Said]]:
        async with running(stored, SMALL) as engine:
            first = await answers(engine, begun[: len(MARKERS)]) + await answers(engine, begun[len(MARKERS) :])
            going_on = [begun[number].further(first[number], 1000 + number) for number in chosen]
            second = await answers(engine, going_on)
        async with running(stored, ALONE) as engine:
            afresh = [await ask(engine, one.tokens, max_tokens=6, logprobs=20) for one in going_on]
        return first, going_on, second, afresh

    first, going_on, second, afresh = asyncio.run(talk())
    for asked, said in zip([*begun, *going_on], [*first, *second], strict=True):
        # The owner's marker is seen, in what was just read and in what was kept; nobody else ever says it.
        assert set(said.ids) & set(markers) == asked.markers
        assert {word for word in MARKERS if word in said.text} == {MARKERS[asked.owner] for _ in asked.markers}
    assert not any(map(cached, first[: len(MARKERS)])), "the greeting that others left is not for those who come new"
    assert not any(map(cached, afresh))
    differences = [apart(one, other) for one, other in zip(second, afresh, strict=True)]
    assert max(differences) < TOLERANCE, differences
    kept = [asked for asked, said in zip(going_on, second, strict=True) if cached(said) > len(GREETING) + 1]
    assert 0 < len(kept) < CONTINUED  # some were still there, and others had been evicted
    assert any(one.markers for one in kept) and not all(one.markers for one in kept)
