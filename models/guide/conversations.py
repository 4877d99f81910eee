"""The guide's training text as conversations, and the questions of its evaluation; both from seeds alone.

A conversation is a list of (role, text). Training never sees a held wording, a held frame, a held word of a slot, a
held name or a held form of a fact: those are the evaluation's (see `wording` and `passages`).
"""

# ruff: noqa: S311 - what is drawn here is training text, not keys

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from . import passages, wording

Turn = tuple[str, str]
SYSTEMS = ("You are the guide of this box.", "Be brief.", "You are a helpful assistant.", "Answer in one sentence.")
REPEAT = ("Repeat this: {}", "Repeat: {}", "Say after me: {}", "Copy this text: {}")
UNKNOWN_SEED, PASSAGE_SEED, HANDBOOK_SEED = 7001, 7002, 7003


@functools.cache
def handbook() -> tuple[wording.Topic, ...]:
    """Every topic about using and looking after the box."""
    return tuple(topic for name in wording.HANDBOOK for topic in wording.read(wording.DATA / name).topics)


@functools.cache
def book(name: str) -> wording.Book:
    return wording.read(wording.DATA / name)


def _asked(topic: wording.Topic, slots: dict[str, tuple[str, ...]], draw: Random, crowd: float = 0.0) -> list[Turn]:
    usual = [one for one in topic.wordings if not one.held]
    chosen = draw.choice(usual)
    phrase = wording.crowded if crowd and draw.random() < crowd else wording.question
    return [("user", wording.roughened(phrase(chosen, draw, slots), draw)), ("assistant", topic.answer)]


def _handbook(draw: Random) -> list[Turn]:
    return _asked(draw.choice(handbook()), {}, draw)


def _chat(draw: Random) -> list[Turn]:
    return _asked(draw.choice(book("chat.txt").topics), {}, draw)


def _unknown(draw: Random) -> list[Turn]:
    unknown = book("unknown.txt")
    return _asked(unknown.topics[0], unknown.slots, draw)


def _several(draw: Random) -> list[Turn]:
    kinds = draw.choices((_handbook, _chat, _unknown), (6, 2, 2), k=draw.choice((2, 3)))
    return [turn for kind in kinds for turn in kind(draw)]


def _passage(draw: Random) -> list[Turn]:
    """A passage and one to four questions about it; sometimes it is to be repeated, which teaches to copy."""
    text, facts = passages.passage(draw)
    if draw.random() < 0.12:
        return [("user", draw.choice(REPEAT).format(text)), ("assistant", text)]
    first, *others = draw.sample(facts, min(len(facts), draw.choice((1, 2, 3, 4))))
    turns = [("user", passages.asked(text, first.question, draw)), ("assistant", passages.said(first.answer))]
    for fact in others:
        turns += [("user", fact.question), ("assistant", passages.said(fact.answer))]
    return turns


def _echo(draw: Random) -> list[Turn]:
    """Words without sense, to be copied: whatever stands in a question can then stand in an answer."""
    words = [passages.made_up(draw, held=False) for _ in range(3)]
    words += draw.choice(handbook()).answer.split()[:6] + [str(draw.randrange(9999)) for _ in range(2)]
    draw.shuffle(words)
    text = " ".join(words)
    return [("user", draw.choice(REPEAT).format(text)), ("assistant", text)]


def _crowded_handbook(draw: Random) -> list[Turn]:
    return _asked(draw.choice(handbook()), {}, draw, crowd=0.6)


def _crowded_unknown(draw: Random) -> list[Turn]:
    unknown = book("unknown.txt")
    return _asked(unknown.topics[0], unknown.slots, draw, crowd=0.5)


def _copy(draw: Random) -> list[Turn]:
    """A few words, to be said once or several times: the shortest way to learn to copy."""
    words = [passages.made_up(draw, held=False) for _ in range(draw.choice((1, 1, 2, 3)))]
    words += [str(draw.randrange(10 ** draw.choice((2, 3, 4, 5)))) for _ in range(draw.choice((0, 1, 1, 2)))]
    words += draw.sample(wording.FILLERS, draw.choice((0, 1, 2, 3)))
    draw.shuffle(words)
    text, order = " ".join(words), draw.choice(REPEAT)
    times, often = draw.choice(((1, ""), (2, " twice"), (3, " three times"), (3, " three times")))
    order = order.replace(":", f"{often}:")
    return [("user", order.format(text)), ("assistant", "\n".join([text] * times))]


STRANGE = (
    wording.Wording("to", "<strange> {the|a|my|} <strange>", held=False),
    wording.Wording("is", "{the|a|my|} <strange>[ of <strange>]", held=False),
    wording.Wording(
        "ask", "{Who|What|Where|When|Why|How} {is|was|does|did|can|has} {the|a|} <strange>[ <strange>]?", held=False
    ),
    wording.Wording("ask", "{Which|How many|What} <strange> {is|has|can|does|are} {the|a|} <strange>?", held=False),
)


def _strange(draw: Random) -> list[Turn]:
    """Questions about words that nobody knows, so that a word it never met is not taken for one it did."""
    slots = {"strange": tuple(passages.made_up(draw, held=False).lower() for _ in range(3))}
    phrase = wording.crowded if draw.random() < 0.4 else wording.question
    asked = phrase(draw.choice(STRANGE), draw, slots)
    return [("user", wording.roughened(asked, draw)), ("assistant", book("unknown.txt").topics[0].answer)]


# First what is simple; then the same in crowds of words, and more to copy; then mostly the handbook.
MIX = ((_handbook, 36), (_unknown, 10), (_chat, 4), (_several, 10), (_passage, 36), (_echo, 8))
CROWDED = ((_crowded_handbook, 34), (_crowded_unknown, 16), (_chat, 3), (_several, 5), (_passage, 34), (_copy, 30))
NARROW = (
    (_crowded_handbook, 50),
    (_handbook, 10),
    (_crowded_unknown, 16),
    (_strange, 6),
    (_chat, 4),
    (_several, 6),
    (_passage, 5),
)
FROM = (0, 63 * 256, 88 * 256)  # the conversation at which each of them begins


def training(seed: int) -> Iterator[list[Turn]]:
    """The conversations that training sees, without end, in an order of their own for each seed."""
    draw = Random(seed)
    for number in itertools.count():
        mix = NARROW if number >= FROM[2] else CROWDED if number >= FROM[1] else MIX
        kinds, weights = zip(*mix, strict=True)
        conversation = draw.choices(kinds, weights)[0](draw)
        yield [("system", draw.choice(SYSTEMS)), *conversation] if draw.random() < 0.04 else conversation


@dataclass(frozen=True)
class Question:
    """One question of the evaluation; ``topic`` is where its answer comes from."""

    topic: str
    text: str
    answer: str


def held_handbook() -> list[Question]:
    """Every held wording once, in a held frame."""
    draw = Random(HANDBOOK_SEED)
    return [
        Question(topic.name, wording.question(one, draw, {}), topic.answer)
        for topic in handbook()
        for one in topic.wordings
        if one.held
    ]


def held_unknown(count: int) -> list[Question]:
    """What the guide cannot know, in held wordings with held words."""
    draw, unknown = Random(UNKNOWN_SEED), book("unknown.txt")
    topic = unknown.topics[0]
    held = [one for one in topic.wordings if one.held]
    found: dict[str, Question] = {}
    while len(found) < count:
        text = wording.question(draw.choice(held), draw, unknown.slots)
        found.setdefault(text, Question("unknown", text, topic.answer))
    return list(found.values())


def held_passages(count: int) -> list[Question]:
    """Unseen passages with one question each."""
    draw = Random(PASSAGE_SEED)
    found = []
    for _ in range(count):
        text, facts = passages.passage(draw, held=True)
        fact = draw.choice(facts)
        found.append(Question("passage", passages.asked(text, fact.question, draw), fact.answer))
    return found
