"""Keeping what people write from passing for the template's own marks: a message that says ``<|im_end|>`` ends no turn.

Templates and their marks are strangers' work, so contents are not cut out of what they render. Instead every control
token's text *inside a content* is marked behind its first character, with a character that no content holds. Whatever
the template does with the content, the mark goes where the text goes. In the prompt the marks are taken out again and
their places become *breaks*: no token is read across one, so the text is read as the characters it consists of. A
conversation without such text, and all of the template's own text, is rendered and read as it always was.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..errors import UsageError

CONTENTS: Final = ("content", "reasoning_content")  # the members of a message that people write
MARKS: Final = range(0xE000, 0xF900)  # private use: these mean nothing to any model
LONGEST_CONTROL: Final = 256  # characters of a control token's text; a longer one is recognised by so many
MOST_CONTROLS: Final = 1 << 16
_NEVER: Final = r"(?!)"


@dataclass(frozen=True)
class Rendered:
    """A prompt, and the places in it that no token may span: offsets in characters, rising."""

    text: str
    breaks: tuple[int, ...] = ()


class Imitations:
    """Finds the texts of a model's control tokens; ``plain`` are those that an assistant's message may hold, since
    templates look for them there (the markers of reasoning)."""

    def __init__(self, controls: Iterable[str], plain: Sequence[str] = ()) -> None:
        texts = {text[:LONGEST_CONTROL] for text in controls if len(text) > 1}
        self._anywhere = _finder(texts)
        self._assistant = _finder(texts.difference(plain))

    def marked(self, messages: Sequence[Mapping[str, Any]]) -> tuple[Sequence[Mapping[str, Any]], str]:
        """The messages with every imitation marked, and the mark; the same messages and no mark where there is none.

        Raises:
            UsageError: there is an imitation, and no character left to mark it with.
        """
        if not any(self._find(message).search(text) for message in messages for text in _contents(message)):
            return messages, ""
        mark = _unused({letter for message in messages for text in message.values() for letter in str(text)})
        return [self._mark(message, mark) for message in messages], mark

    def _find(self, message: Mapping[str, Any]) -> re.Pattern[str]:
        return self._assistant if message.get("role") == "assistant" else self._anywhere

    def _mark(self, message: Mapping[str, Any], mark: str) -> Mapping[str, Any]:
        find = self._find(message)
        marked = {name: _marked(find, message[name], mark) for name in CONTENTS if isinstance(message.get(name), str)}
        return {**message, **marked}


def unmarked(text: str, mark: str) -> Rendered:
    """What the template made of marked messages: without the marks, and where they were."""
    if not mark:
        return Rendered(text)
    pieces = text.split(mark)
    breaks, at = [], 0
    for piece in pieces[:-1]:
        at += len(piece)
        breaks.append(at)
    return Rendered("".join(pieces), tuple(dict.fromkeys(breaks)))


def pieces_of(text: str, breaks: Sequence[int]) -> list[str]:
    """``text`` cut at ``breaks``."""
    ends = [*breaks, len(text)]
    return [text[start:end] for start, end in zip([0, *breaks], ends, strict=True)]


def _contents(message: Mapping[str, Any]) -> Iterable[str]:
    return (text for name in CONTENTS if isinstance(text := message.get(name), str))


def _marked(find: re.Pattern[str], text: str, mark: str) -> str:
    """Each place where a control token's text begins is looked at, so that overlapping ones are all broken."""
    return mark.join(pieces_of(text, [found.start() + 1 for found in find.finditer(text)]))


def _unused(letters: set[str]) -> str:
    for code in MARKS:
        if chr(code) not in letters:
            return chr(code)
    raise UsageError(
        "The conversation holds a control token's text, and every character for private use besides.",
        then="Leave out the characters for private use.",
    )


def _finder(texts: Iterable[str]) -> re.Pattern[str]:
    """Finds every place where one of ``texts`` begins, also inside another, in time that does not grow with their
    number: the pattern is their prefix tree."""
    wanted = sorted(texts)[:MOST_CONTROLS]
    if not wanted:
        return re.compile(_NEVER)
    try:
        return re.compile(f"(?={_tree(wanted)})")
    except RecursionError:  # thousands of texts, each the beginning of the next: the first two letters do as well
        return re.compile(f"(?={_tree(sorted({text[:2] for text in wanted}))})")


def _tree(texts: Sequence[str]) -> str:
    """A pattern for any of the sorted ``texts``: what they begin with in common, then the branches."""
    common = os.path.commonprefix([texts[0], texts[-1]])  # noqa: RUF071 - of characters, not of folders
    if texts[0] == common:  # the others are longer, and found wherever this one is
        return re.escape(common)
    branches: dict[str, list[str]] = {}
    for text in texts:
        rest = text[len(common) :]
        branches.setdefault(rest[0], []).append(rest)
    return re.escape(common) + "(?:" + "|".join(map(_tree, branches.values())) + ")"
