"""What one running model shares between its users: the published prompts, as its own template renders them.

A prefix is what two conversations have in common that use the prompt and differ from the first letter of the question.
It holds until the set of prompts changes, and for one day, because templates may write the date. A template that does
not take a prompt (some know no system message) leaves that prompt out and says why; it keeps no model from answering.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from typing import Any, Final

from ..clock import Clock
from ..engine.imitation import Imitations
from ..engine.protocol import MAX_SHARED, MAX_SHARED_TEXT
from ..engine.supervisor import Engine
from ..errors import Damaged, LumenError, UsageError
from .prompts import Prompt

QUESTIONS: Final = ("And now?", "So what?")  # without a letter in common at their beginning

Render = Callable[[Sequence[dict[str, Any]]], Awaitable[str]]


class Sharing:
    """Keeps the engine's set of prefixes as it should be. ``prompts`` reads the present set, in any thread."""

    def __init__(self, engine: Engine, render: Render, clock: Clock, prompts: Callable[[], Sequence[Prompt]]) -> None:
        self._engine, self._render, self._clock, self._prompts = engine, render, clock, prompts
        self._lock = asyncio.Lock()  # two changes at once: the later reads the newer set, and has the last word
        self._day: date | None = None
        self._rendered: dict[tuple[str, str], str] = {}
        self._prefixes: tuple[str, ...] = ()
        self._renewing: asyncio.Task[None] | None = None
        self.shared: frozenset[str] = frozenset()
        self.problems: dict[str, str] = {}  # by the name of the prompt

    async def refresh(self) -> None:
        """Renders what is new and tells the engine. Never raises what is wrong with a prompt or with the template."""
        async with self._lock:
            self._begin_day()
            try:
                prompts = await asyncio.to_thread(self._prompts)
            except LumenError:  # sealed meanwhile: nothing is to be shared
                prompts = ()
            prefixes = await self._all(prompts)
            self.shared = frozenset(prefixes)
            if (found := tuple(prefixes.values())) != self._prefixes:
                self._engine.share(found)
                self._prefixes = found

    def renew(self) -> None:
        """Begins to render everything again where another day has begun. Costs nothing otherwise."""
        if self._prefixes and self._day != self._clock.now().date():
            self._day = self._clock.now().date()
            self._rendered.clear()
            self._renewing = asyncio.create_task(self.refresh())

    def _begin_day(self) -> None:
        today = self._clock.now().date()
        if today != self._day:
            self._rendered.clear()
        self._day = today

    async def _all(self, prompts: Sequence[Prompt]) -> dict[str, str]:
        """Prefixes by the name of their prompt, as far as the engine takes them."""
        prefixes: dict[str, str] = {}
        self.problems = {}
        for prompt in prompts:
            try:
                prefix = await self._prefix(prompt)
                if len(prefixes) >= MAX_SHARED or sum(map(len, prefixes.values())) + len(prefix) > MAX_SHARED_TEXT:
                    raise UsageError("The engine shares no more text than it has got already.")
                prefixes[prompt.name] = prefix
            except LumenError as error:
                self.problems[prompt.name] = error.what
                if isinstance(error, Damaged):  # the template itself is broken, and the next try costs as much time
                    break
        return prefixes

    async def _prefix(self, prompt: Prompt) -> str:
        key = (prompt.kind, prompt.sha256)
        if key not in self._rendered:
            self._rendered[key] = await common_prefix(self._render, prompt)
        return self._rendered[key]


def refusing(imitations: Imitations, render: Render) -> Render:
    """``render`` for texts that are read as they stand; ``UsageError`` for one that the engine reads in pieces."""

    async def rendering(messages: Sequence[dict[str, Any]]) -> str:
        if imitations.marked(messages)[1]:
            raise UsageError("It holds the text of one of the model's control tokens, so it is read anew each time.")
        return await render(messages)

    return rendering


async def common_prefix(render: Render, prompt: Prompt) -> str:
    """What every rendered conversation with ``prompt`` begins with; ``UsageError`` if that does not hold its text."""
    pairs = zip(*[await render(prompt.conversation(question)) for question in QUESTIONS], strict=False)
    prefix = "".join(one for one, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    if prompt.text.strip() not in prefix:
        raise UsageError("The model's chat template does not put this text, as it is, in front of the question.")
    return prefix
