"""From sampled tokens to the text that may be shown: pure, one object per answer.

bytes → characters → reasoning or answer → answer without stop strings. Each stage holds back what could still turn out
to be something else: half a character, the beginning of a marker, the beginning of a stop string. Stop strings are
looked for in the answer, not in the reasoning before it. White space around a marker belongs to neither side.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


def held_back(text: str, wanted: Sequence[str]) -> int:
    """How many characters at the end of ``text`` could be the beginning of one of ``wanted`` (never a whole one)."""
    longest = 0
    for one in wanted:
        start = max(len(text) - len(one) + 1, 0)
        while (start := text.find(one[0], start)) >= 0:
            if one.startswith(text[start:]):
                longest = max(longest, len(text) - start)
                break
            start += 1
    return longest


def first_of(text: str, wanted: Sequence[str]) -> tuple[int, str] | None:
    """The earliest place where one of ``wanted`` stands in ``text``; of several there, the longest."""
    found = [(text.find(one), -len(one), one) for one in wanted if one in text]
    return (min(found)[0], min(found)[2]) if found else None


class Characters:
    """UTF-8 as it comes: an unfinished character waits, an impossible byte becomes U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> str:
        return self._decoder.decode(data)


class Reasoning:
    """Parts the text between two markers from the rest. ``inside``: the prompt has opened the reasoning already.
    ``once``: it can only come first, and what looks like a marker later is the answer's own text."""

    def __init__(self, markers: tuple[str, str] | None, *, inside: bool = False, once: bool = False) -> None:
        self._once, self._over = once, False
        self._markers, self.inside = markers, inside and markers is not None
        self._pending = ""
        self._strip = self.inside

    def feed(self, text: str) -> list[tuple[bool, str]]:
        """The text that is certain now, in its order: (whether it is reasoning, text)."""
        if self._markers is None:
            return [(False, text)]
        parts: list[tuple[bool, str]] = []
        self._pending += text
        while True:
            marker = self._markers[self.inside]
            self._strip_border()
            if self._is_over(marker):
                rest, self._pending = self._pending, ""
                return [*parts, (False, rest)]
            at = self._pending.find(marker)
            if at < 0:
                break
            before = self._pending[:at]
            parts.append((self.inside, before.rstrip() if self.inside else before))
            self._pending = self._pending[at + len(marker) :]
            self._over = self._once and self.inside
            self.inside, self._strip = not self.inside, True
        certain = len(self._pending) - self._uncertain(marker)
        parts.append((self.inside, self._pending[:certain]))
        self._pending = self._pending[certain:]
        return parts

    def _is_over(self, marker: str) -> bool:
        """No reasoning can come any more."""
        begun = self._pending and not marker.startswith(self._pending) and not self._pending.startswith(marker)
        self._over = self._over or bool(self._once and not self.inside and begun)
        return self._over

    def _strip_border(self) -> None:
        if self._strip:
            self._pending = self._pending.lstrip()
            self._strip = not self._pending

    def _uncertain(self, marker: str) -> int:
        """The length of the end that may be part of ``marker`` or, in the reasoning, of the space before it."""
        keep = held_back(self._pending, [marker])
        if self.inside:
            kept_from = len(self._pending) - keep
            keep += kept_from - len(self._pending[:kept_from].rstrip())
        return keep

    @property
    def held(self) -> int:
        return len(self._pending)

    def finish(self) -> list[tuple[bool, str]]:
        """What was held back: no marker came."""
        rest, self._pending = self._pending, ""
        return [(self.inside, rest.rstrip() if self.inside else rest)]


class Stops:
    """Looks for stop strings; the text before one is let through, the string itself and what follows is not."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._pending = ""
        self.hit: str | None = None
        self.dropped = 0  # characters from the stop string on

    def feed(self, text: str) -> str:
        if not self._stops:
            return text
        self._pending += text
        if found := first_of(self._pending, self._stops):
            at, self.hit = found
            before, self.dropped, self._pending = self._pending[:at], len(self._pending) - at, ""
            return before
        certain = len(self._pending) - held_back(self._pending, self._stops)
        out, self._pending = self._pending[:certain], self._pending[certain:]
        return out

    @property
    def held(self) -> int:
        return len(self._pending)

    def finish(self) -> str:
        """What was held back: no stop string came."""
        rest, self._pending = self._pending, ""
        return rest


@dataclass(frozen=True)
class Piece(Generic[T]):
    """Text that may be shown now, and the notes of the tokens it came from."""

    text: str = ""
    reasoning: str = ""
    notes: tuple[T, ...] = ()


class AnswerText(Generic[T]):
    """All stages for one answer. Each token may carry a note (its log-probability), which is let out with its text."""

    def __init__(
        self,
        stops: Sequence[str] = (),
        markers: tuple[str, str] | None = None,
        *,
        inside: bool = False,
        once: bool = False,
    ) -> None:
        self._characters, self._stops = Characters(), Stops(stops)
        self._reasoning = Reasoning(markers, inside=inside, once=once)
        self._notes: deque[tuple[T, int]] = deque()  # with the number of characters of each token
        self._noted = 0

    @property
    def stop_text(self) -> str | None:
        """The stop string that was met: the answer ends here."""
        return self._stops.hit

    @property
    def inside_reasoning(self) -> bool:
        return self._reasoning.inside

    def feed(self, token: bytes, note: T | None = None) -> Piece[T]:
        characters = self._characters.feed(token)
        if note is not None:
            self._notes.append((note, len(characters)))
            self._noted += len(characters)
        text, reasoning = self._sift(self._reasoning.feed(characters))
        held = 0 if self.stop_text is not None else self._reasoning.held + self._stops.held
        return Piece(text, reasoning, self._release(held))

    def finish(self) -> Piece[T]:
        """What was held back in vain. Half a character at the very end is dropped: the answer was cut there."""
        if self.stop_text is not None:
            return Piece()
        text, reasoning = self._sift(self._reasoning.finish())
        return Piece(text + self._stops.finish(), reasoning, self._release(0))

    def _sift(self, parts: list[tuple[bool, str]]) -> tuple[str, str]:
        """(answer, reasoning) up to a stop string, should there be one in the answer."""
        text = reasoning = ""
        for place, (inside, part) in enumerate(parts):
            if inside:
                reasoning += part
                continue
            text += self._stops.feed(part)
            if self.stop_text is not None:
                self._drop_notes(self._stops.dropped + sum(len(rest) for _, rest in parts[place + 1 :]))
                break
        return text, reasoning

    def _release(self, held: int) -> tuple[T, ...]:
        """The notes of tokens none of whose characters are among the last ``held``."""
        out: list[T] = []
        while self._notes and self._noted - self._notes[0][1] >= held:
            note, size = self._notes.popleft()
            self._noted -= size
            out.append(note)
        return tuple(out)

    def _drop_notes(self, dropped: int) -> None:
        """Forgets the tokens that lie wholly in the ``dropped`` characters from the stop string on."""
        while self._notes and self._notes[-1][1] <= dropped:
            size = self._notes.pop()[1]
            dropped -= size
            self._noted -= size
