"""Short made-up passages, and questions whose answer is a span of them.

A passage is a few facts in any order, often two of one kind, so that the right one must be found by what it is about.
Names are made of syllables and numbers are drawn, so no passage is worth remembering. For the evaluation the names
come from other combinations of syllables, and every fact and every question stands in a wording kept out of training.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "March", "April", "May", "June", "July", "August", "October", "November", "December")
COLOURS = ("red", "blue", "green", "yellow", "white", "black", "grey", "brown", "orange", "purple")
PLACES = (
    "archive",
    "kitchen",
    "laboratory",
    "library",
    "workshop",
    "pharmacy",
    "office",
    "garden",
    "clinic",
    "store",
    "school",
    "museum",
    "station",
    "cellar",
    "chapel",
    "canteen",
    "reception",
    "laundry",
    "garage",
    "ward",
)
THINGS = (
    "printer",
    "cabinet",
    "scanner",
    "safe",
    "bicycle",
    "projector",
    "generator",
    "microscope",
    "ladder",
    "piano",
    "pump",
    "lamp",
    "fridge",
    "table",
    "boat",
    "drill",
    "camera",
    "oven",
    "door",
    "van",
)
EVENTS = (
    "meeting",
    "concert",
    "inspection",
    "training",
    "lecture",
    "delivery",
    "party",
    "audit",
    "fire drill",
    "visit",
    "tour",
    "dinner",
    "exam",
    "election",
    "market",
    "festival",
)
GOODS = (
    "beds",
    "chairs",
    "windows",
    "books",
    "tables",
    "lamps",
    "boxes",
    "bottles",
    "cups",
    "keys",
    "screens",
    "doors",
)
TOWNS = ("Harbour Town", "Northfield", "Eastbridge", "Old Mill", "Westgate", "Rivermouth", "Hillcrest", "Lakeside")

_ONSETS = ("b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "j", "br", "tr", "st", "kl")
_VOWELS = ("a", "e", "i", "o", "u", "ei", "ou")
_ENDS = ("", "", "", "n", "r", "l", "s", "m", "k")
_HELD_NAMES_IN = 5  # one name of so many is kept for the evaluation


@dataclass(frozen=True)
class Kind:
    """One kind of fact: ``{key}`` is what it is about, ``{value}`` the answer; the last wordings are held."""

    keys: tuple[str, ...]
    value: str
    facts: tuple[str, ...]
    questions: tuple[str, ...]
    held_facts: tuple[str, ...]
    held_questions: tuple[str, ...]


KINDS = (
    Kind(
        PLACES,
        "person",
        ("{value} leads the {key}.", "The {key} is led by {value}.", "The head of the {key} is {value}."),
        ("Who leads the {key}?", "Who is the head of the {key}?", "Who is in charge of the {key}?"),
        ("At the head of the {key} stands {value}.", "In the {key}, {value} leads."),
        ("Who is it that leads the {key}?", "Which person is head of the {key}?"),
    ),
    Kind(
        EVENTS,
        "day",
        ("The {key} is on {value}.", "The {key} takes place on {value}.", "On {value} there is the {key}."),
        (
            "When is the {key}?",
            "On which day is the {key}?",
            "When does the {key} take place?",
            "What day is the {key}?",
        ),
        ("The day of the {key} is {value}.", "They hold the {key} on {value}."),
        ("Which day is the day of the {key}?", "When do they hold the {key}?"),
    ),
    Kind(
        THINGS,
        "room",
        ("The {key} stands in {value}.", "The {key} is in {value}.", "In {value} you find the {key}."),
        (
            "Where is the {key}?",
            "In which room is the {key}?",
            "Where does the {key} stand?",
            "Where do I find the {key}?",
        ),
        ("They moved the {key} to {value}.", "Look for the {key} in {value}."),
        ("Where should I look for the {key}?", "Which room is the {key} in?"),
    ),
    Kind(
        THINGS,
        "colour",
        ("The {key} is painted {value}.", "The colour of the {key} is {value}.", "The {key} is {value}."),
        ("What colour is the {key}?", "Which colour does the {key} have?", "What is the colour of the {key}?"),
        ("Somebody painted the {key} {value}.", "For the {key} they chose {value}."),
        ("Which colour is the {key}?", "In what colour was the {key} painted?"),
    ),
    Kind(
        PLACES,
        "count",
        ("The {key} has {value}.", "There are {value} in the {key}.", "In the {key} there are {value}."),
        ("How many {unit} are in the {key}?", "How many {unit} does the {key} have?", "How many {unit} has the {key}?"),
        ("The {key} was built with {value}.", "We counted {value} in the {key}."),
        ("What number of {unit} has the {key}?", "In the {key}, how many {unit} are there?"),
    ),
    Kind(
        THINGS,
        "price",
        ("The {key} costs {value}.", "The price of the {key} is {value}.", "The {key} was bought for {value}."),
        ("How much does the {key} cost?", "What is the price of the {key}?", "What does the {key} cost?"),
        ("They paid {value} for the {key}.", "For {value} we got the {key}."),
        ("How much was paid for the {key}?", "What price did the {key} have?"),
    ),
    Kind(
        PLACES,
        "time",
        ("The {key} opens at {value}.", "At {value} the {key} opens.", "The {key} is open from {value}."),
        ("When does the {key} open?", "At what time does the {key} open?", "From when is the {key} open?"),
        ("The doors of the {key} open at {value}.", "Nobody gets into the {key} before {value}."),
        ("From what time on is the {key} open?", "What is the time when the {key} opens?"),
    ),
    Kind(
        ("name",),
        "town",
        ("{name} lives in {value}.", "{name} comes from {value}.", "The home of {name} is {value}."),
        ("Where does {name} live?", "Where does {name} come from?", "In which town does {name} live?"),
        ("In {value} lives {name}.", "{name} has a house in {value}."),
        ("In what town lives {name}?", "Where is the house of {name}?"),
    ),
    Kind(
        ("name",),
        "date",
        ("{name} was born on {value}.", "The birthday of {name} is {value}.", "{name} came into the world on {value}."),
        ("When was {name} born?", "What is the birthday of {name}?", "When is the birthday of {name}?"),
        ("Since {value} there has been {name}.", "{name} has a birthday on {value}."),
        ("On what date was {name} born?", "Which date is the birthday of {name}?"),
    ),
    Kind(
        ("name",),
        "number",
        ("The telephone number of {name} is {value}.", "Call {name} at {value}.", "{name} has the number {value}."),
        ("What is the telephone number of {name}?", "Which number has {name}?", "At which number do I call {name}?"),
        ("To reach {name}, dial {value}.", "{name} answers the telephone at {value}."),
        ("Which telephone number does {name} have?", "What number must I dial for {name}?"),
    ),
    Kind(
        THINGS,
        "person",
        ("The {key} belongs to {value}.", "{value} owns the {key}.", "The owner of the {key} is {value}."),
        ("Who owns the {key}?", "To whom does the {key} belong?", "Who is the owner of the {key}?"),
        ("{value} is the one who owns the {key}.", "The {key} is the property of {value}."),
        ("Whose property is the {key}?", "Which person owns the {key}?"),
    ),
    Kind(
        EVENTS,
        "place",
        (
            "The {key} is held in the {value}.",
            "The {key} takes place in the {value}.",
            "We meet for the {key} in the {value}.",
        ),
        ("Where is the {key} held?", "Where does the {key} take place?", "In which place is the {key}?"),
        ("They hold the {key} in the {value}.", "For the {key}, come to the {value}."),
        ("In what place do they hold the {key}?", "Where do I go for the {key}?"),
    ),
)


def is_held(name: str) -> bool:
    """Whether a made-up word belongs to the evaluation: by its hash, so that both sides agree without a list."""
    return hashlib.sha256(name.encode()).digest()[0] % _HELD_NAMES_IN == 0


def made_up(draw: Random, held: bool) -> str:
    """A name of two or three syllables, such as Klonei."""
    while True:
        count = draw.choice((2, 2, 3))
        name = "".join(draw.choice(_ONSETS) + draw.choice(_VOWELS) for _ in range(count)) + draw.choice(_ENDS)
        if is_held(name) == held:
            return name.capitalize()


@dataclass(frozen=True)
class Fact:
    sentence: str
    question: str
    answer: str


def _value(kind: str, draw: Random, held: bool) -> tuple[str, str]:
    """An answer of this kind, and the unit that its question names."""
    unit = draw.choice(GOODS)
    number = draw.randrange(2, 990)
    values = {
        "person": lambda: made_up(draw, held) + (f" {made_up(draw, held)}" if draw.random() < 0.5 else ""),
        "day": lambda: draw.choice(DAYS),
        "room": lambda: f"room {number}",
        "colour": lambda: draw.choice(COLOURS),
        "count": lambda: f"{number} {unit}",
        "price": lambda: f"{number} {draw.choice(('euros', 'pounds', 'dollars'))}",
        "time": lambda: f"{draw.randrange(5, 21)}:{draw.choice(('00', '15', '30', '45'))}",
        "town": lambda: draw.choice(TOWNS) if draw.random() < 0.2 else made_up(draw, held),
        "date": lambda: f"{draw.randrange(1, 29)} {draw.choice(MONTHS)}",
        "number": lambda: f"{draw.randrange(1000, 99999)}",
        "place": lambda: draw.choice(PLACES),
    }
    return values[kind](), unit


def _fact(kind: Kind, draw: Random, held: bool, taken: set[tuple[str, str]]) -> Fact | None:
    name = made_up(draw, held)
    key = draw.choice(kind.keys)
    value, unit = _value(kind.value, draw, held)
    about = (key if key != "name" else name, kind.value)
    if about in taken or value == key:
        return None
    taken.add(about)
    words = {"key": key, "name": name, "value": value, "unit": unit}
    sentence = draw.choice(kind.held_facts if held else kind.facts).format(**words)
    question = draw.choice(kind.held_questions if held else kind.questions).format(**words)
    answer = value if kind.value != "place" else f"the {value}"
    return Fact(sentence[0].upper() + sentence[1:], question, answer)


def passage(draw: Random, *, held: bool = False) -> tuple[str, tuple[Fact, ...]]:
    """A text of two to five facts, and the facts in the order of the text."""
    kinds = draw.sample(KINDS, draw.choice((1, 2, 2, 3)))
    taken: set[tuple[str, str]] = set()
    size = draw.choice((2, 3, 3, 4, 5))
    facts: list[Fact] = []
    while len(facts) < size:
        if fact := _fact(draw.choice(kinds), draw, held, taken):
            facts.append(fact)
    return " ".join(fact.sentence for fact in facts), tuple(facts)


def asked(text: str, question: str, draw: Random) -> str:
    """Passage and question as one message: either may come first, as `lumen-box ask` puts the text below."""
    forms = (
        f"{question}\n\n{text}",
        f"{text}\n\n{question}",
        f"Text: {text}\nQuestion: {question}",
        f"{question}\n{text}",
    )
    return draw.choice(forms)


def said(answer: str) -> str:
    """The whole answer: the span as a sentence of its own."""
    return f"{answer[0].upper()}{answer[1:]}."
