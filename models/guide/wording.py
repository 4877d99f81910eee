"""Wordings of questions: read from the data files, and multiplied.

A data file has topics (``@``), words for slots (``%``), wordings (``to``, ``is``, ``ask``) and one answer (``=``).
In a wording ``{a|b}`` is one of several, ``[a|b]`` one of them or nothing, ``<name>`` a slot. ``to`` and ``is`` are
completed by a frame, a way of asking. A wording marked ``held``, and the held frames, belong to the evaluation alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

DATA = Path(__file__).parent / "data"
HANDBOOK = ("handbook-models.txt", "handbook-box.txt", "handbook-people.txt")

FRAMES = {
    "to": (
        "How do I {}?",
        "How can I {}?",
        "How do you {}?",
        "How to {}?",
        "How do we {} here?",
        "How would I {}?",
        "What do I type to {}?",
        "What is the command to {}?",
        "Which command do I use to {}?",
        "Which command lets me {}?",
        "I want to {}.",
        "I need to {}.",
        "I would like to {}. How?",
        "I have to {}. What do I do?",
        "Tell me how to {}.",
        "Show me how to {}.",
        "Please explain how to {}.",
        "Is there a command to {}?",
        "Is there a way to {}?",
        "Can I {}?",
        "Can you help me to {}?",
        "What should I do to {}?",
        "Do you know how to {}?",
        "I do not know how to {}.",
        "{}",
        "{}?",
    ),
    "is": (
        "What is {}?",
        "What's {}?",
        "What does {} mean?",
        "Explain {}.",
        "Please explain {}.",
        "Tell me about {}.",
        "Define {}.",
        "What do you know about {}?",
        "I do not understand {}.",
        "Can you explain {}?",
        "What is meant by {}?",
        "{}",
        "{}?",
    ),
    "ask": ("{}",) * 6 + ("Hello, {}", "Please: {}", "Quick question: {}", "Sorry, {}", "Tell me: {}", "Hi! {}"),
}
HELD_FRAMES = {
    "to": (
        "Walk me through how one can {}, please.",
        "My task today is to {}; what now?",
        "What has to be typed in order to {}?",
        "A colleague wonders how to {}.",
        "Let me know the steps if I wish to {}.",
        "Any idea how I could {}?",
    ),
    "is": (
        "Remind me, what is {}?",
        "Describe for me {}.",
        "In short: what would {} be?",
        "Somebody mentioned {}; explain?",
    ),
    "ask": ("{}", "One more thing: {}", "Now then. {}", "My colleague asks: {}"),
}


@dataclass(frozen=True)
class Wording:
    kind: str
    pattern: str
    held: bool


@dataclass(frozen=True)
class Topic:
    name: str
    wordings: tuple[Wording, ...]
    answer: str


@dataclass
class Book:
    """One data file: its topics, and the words of its slots (for training, and held)."""

    topics: list[Topic] = field(default_factory=list)
    slots: dict[str, tuple[str, ...]] = field(default_factory=dict)


def read(path: Path) -> Book:
    """Reads a data file; ValueError with the line that has no known form."""
    book, name = Book(), ""
    wordings: list[Wording] = []
    for line in path.read_text().splitlines():
        mark, _, rest = line.partition(" ")
        if mark in ("", "#"):
            continue
        if mark == "%":
            slot, _, words = rest.partition(" = ")
            usual, _, held = words.partition(" // ")
            book.slots[slot], book.slots[f"held {slot}"] = tuple(usual.split("|")), tuple(held.split("|"))
        elif mark == "@":
            name, wordings = rest, []
        elif mark == "=":
            book.topics.append(Topic(name, tuple(wordings), rest))
        elif mark in FRAMES:
            wordings.append(Wording(mark, rest, held=False))
        elif mark == "held" and (parts := rest.partition(" "))[0] in FRAMES:
            wordings.append(Wording(parts[0], parts[2], held=True))
        else:
            raise ValueError(f"{path.name}: {line}")
    return book


_CHOICE = re.compile(r"\{([^{}\[\]]*)\}|\[([^{}\[\]]*)\]")
_SLOT = re.compile(r"<([a-z ]+)>")


def spin(pattern: str, draw: Random, slots: dict[str, tuple[str, ...]]) -> str:
    """One of the texts that a pattern stands for."""
    while found := _CHOICE.search(pattern):
        chosen, optional = found.groups()
        options = chosen.split("|") if chosen is not None else [*optional.split("|"), ""]
        pattern = pattern[: found.start()] + draw.choice(options) + pattern[found.end() :]
    return _SLOT.sub(lambda match: draw.choice(slots[match[1]]), pattern)


def question(wording: Wording, draw: Random, slots: dict[str, tuple[str, ...]]) -> str:
    """The wording in a frame of its own family: a held one in a held frame."""
    text = spin(wording.pattern, draw, slots)
    frame = draw.choice((HELD_FRAMES if wording.held else FRAMES)[wording.kind])
    asked = frame.format(text)
    return asked[0].upper() + asked[1:]


def roughened(text: str, draw: Random) -> str:
    """As a person in a hurry types it: without capitals, marks, single words or letters."""
    if draw.random() < 0.3:
        text = text.lower()
    if draw.random() < 0.3:
        text = text.rstrip("?.!")
    words = text.split(" ")
    if draw.random() < 0.3 and len(words) > 4:
        kept = [word for word in words if draw.random() > 0.12]
        words = kept or words
    if draw.random() < 0.1:
        place = draw.randrange(len(words))
        if len(word := words[place]) > 3:
            cut = draw.randrange(1, len(word) - 1)
            words[place] = word[:cut] + word[cut + 1 :]
    return " ".join(words)


# Words that say nothing about what is asked. None of them is of the held frames alone.
_WORDS = """
well so then now and but or also again just only still maybe perhaps really quite very rather soon later here
there please kindly thanks dear sir madam friend boss chief people team office today tomorrow yesterday
morning night week I we you they he she it me us them my our your their his her this that these those one two
some all each other want need would could should must may might will shall can has have had do does did is are
was were be been say said tell told ask asked know knew think thought find found see saw look show give get
got take make made what when where which who whom whose why how if because since while until before after with
without for from of on
"""
FILLERS = tuple(_WORDS.split())


def surrounded(text: str, draw: Random) -> str:
    """The text in a crowd of words without sense, so that what is asked is found in any way of asking."""
    before = " ".join(draw.choice(FILLERS) for _ in range(draw.randrange(7)))
    after = " ".join(draw.choice(FILLERS) for _ in range(draw.choice((0, 0, 0, 1, 2, 3))))
    if before:
        text = text[0].lower() + text[1:]
        before = before[0].upper() + before[1:] + draw.choice((" ", " ", ", ", ": ", "; ", ". "))
    if after:
        text = text.rstrip("?.!") + draw.choice((" ", ", ", "; ")) + after + draw.choice(("?", ".", ""))
    return before + text


def crowded(wording: Wording, draw: Random, slots: dict[str, tuple[str, ...]]) -> str:
    """A wording in its frame, or bare, in such a crowd."""
    asked = question(wording, draw, slots) if draw.random() < 0.4 else spin(wording.pattern, draw, slots)
    return surrounded(asked, draw)
