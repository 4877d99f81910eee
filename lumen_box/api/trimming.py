"""Fitting a conversation into the context where its sender asks for that, by leaving out its oldest turns.

What stays: every system message, and the newest turn whole. A turn is a user's message with the answers to it, so what
is left begins with a user's message, as templates want it. Turns go until the prompt and room for the answer fit: as
much as ``max_tokens`` asks for, up to half of the context, and an eighth of it where nothing is said. Of a long
conversation a few more go than must, in steps, so that its next turns begin with the same text and what the engine
keeps of it can be used again.

The work is bounded: the prompt is rendered at most twice for every doubling of the number of turns, and what is longer
than any text that fits is not even counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..engine.imitation import Rendered
from ..errors import TooLong
from .ports import ActiveModel

ROOM_SHARE: Final = 8  # of the context stays for an answer whose length nobody said
MOST_ROOM: Final = 2  # of the context stays at most
LONGEST_TOKEN: Final = 64  # characters: text in which tokens are longer on average is counted as too long
TURNS_A_STEP: Final = 4  # of the turns that stay, as many as may go beyond what must

Message = dict[str, Any]


@dataclass(frozen=True)
class Trimmed:
    """A prompt that fits, and how many messages were left out of it."""

    prompt: Rendered
    dropped: int


async def trimmed(model: ActiveModel, messages: Sequence[Message], max_tokens: int | None) -> Trimmed:
    """The prompt of as much of the conversation as fits.

    Raises:
        TooLong: not even its newest turn does; with the number of tokens, and the context's.
    """
    return await _Trimming(model, messages, max_tokens).run()


class _Trimming:
    def __init__(self, model: ActiveModel, messages: Sequence[Message], max_tokens: int | None) -> None:
        self._model, self._messages = model, messages
        self._context = model.card.context
        wanted = max_tokens or self._context // ROOM_SHARE
        self._room = max(1, min(wanted, self._context // MOST_ROOM))
        self._starts = turn_starts(messages)

    async def run(self) -> Trimmed:
        if (whole := await self._fitting(0)) is not None:
            return whole
        most = len(self._starts) - 1
        if most < 1:
            raise await self._too_long()
        fits, too_many = await self._bounds(most)
        while too_many - fits > 1:
            middle = (fits + too_many) // 2
            if await self._fitting(most + 1 - middle) is not None:
                fits = middle
            else:
                too_many = middle
        return await self._stepped(most + 1 - fits, most)

    async def _bounds(self, most: int) -> tuple[int, int]:
        """How many turns fit, at least, and how many do not, at most twice as many: found from the newest on, so that
        what is far too long is never read."""
        kept = 1
        if await self._fitting(most) is None:
            raise await self._too_long()
        while 2 * kept <= most and await self._fitting(most + 1 - 2 * kept) is not None:
            kept *= 2
        return kept, min(2 * kept, most + 1)

    async def _stepped(self, turns: int, most: int) -> Trimmed:
        """With the oldest ``turns`` left out, or a few more."""
        step = 1 << max(0, ((most + 1 - turns) // TURNS_A_STEP).bit_length() - 1)
        rounded = min(-(-turns // step) * step, most)
        found = await self._fitting(rounded) or await self._fitting(turns)
        if found is None:
            raise await self._too_long()
        return found

    async def _fitting(self, turns: int) -> Trimmed | None:
        """The prompt with the oldest ``turns`` left out, if it and the answer fit."""
        left = self._without(turns)
        if sum(len(message["content"]) for message in left) > self._context * LONGEST_TOKEN:
            return None
        prompt = await self._model.render(left)
        try:
            if await self._model.count(prompt) + self._room > self._context:
                return None
        except TooLong:  # a word beyond what the tokenizer can read
            return None
        return Trimmed(prompt, len(self._messages) - len(left))

    def _without(self, turns: int) -> list[Message]:
        start = self._starts[turns] if turns else 0
        return [one for at, one in enumerate(self._messages) if at >= start or one["role"] == "system"]

    async def _too_long(self) -> TooLong:
        left = self._without(len(self._starts) - 1) if self._starts else list(self._messages)
        size = sum(len(message["content"]) for message in left)
        if size <= self._context * LONGEST_TOKEN:
            tokens = f"{await self._model.count(await self._model.render(left))} tokens"
        else:
            tokens = f"{size} characters"
        return TooLong(
            f"The newest turn has {tokens} with the system messages, and {self._room} are kept for the answer; this "
            f"model's context is {self._context} with both.",
            kept="Nothing was generated.",
            then="Shorten the newest message or the system message, or ask for a shorter answer.",
        )


def turn_starts(messages: Sequence[Message]) -> list[int]:
    """Where each turn begins: at a user's message, and the first one at whatever is first."""
    spoken = [at for at, message in enumerate(messages) if message["role"] != "system"]
    return [at for rank, at in enumerate(spoken) if rank == 0 or messages[at]["role"] == "user"]
