"""From a conversation to a prompt, by the model's own chat template, rendered by a helper that may be killed.

The gateway's side of ``template_worker``. A template that loops, floods or tries to escape costs its helper's life and
a sentence; the next request gets a fresh helper.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from ..clock import Clock
from ..errors import Damaged, LumenError, NoModel, UsageError
from ..launcher import Confinement, Helper, HelperCrashed, HelperOverflow, HelperTimeout, Limits, Program

MODULE: Final = "lumen_box.engine.template_worker"
SECONDS: Final = 5.0
MEMORY: Final = 512 << 20
OUTPUT: Final = 100 << 20  # bytes: the longest prompt, with every character escaped
MAX_TEMPLATE: Final = 1 << 20  # characters


@dataclass(frozen=True)
class Chat:
    """What a template is given. ``options`` are further variables, such as ``enable_thinking``."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] | None = None
    add_generation_prompt: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)


class Renderer:
    """One model's template. Requests queue for its one helper, which starts with the first of them.

    They queue in a thread of their own: a template that takes its time over each holds up nothing else of the gateway,
    and whoever leaves the queue is not rendered for any more.

    Args:
        template: Jinja source, from the manifest.
        bos: the text of the begin-of-sequence token. eos: of the end token.
        clock: what ``strftime_now`` tells templates that ask for the date.
        seconds: for one conversation.
        require: the least confinement of the helper.
    """

    def __init__(
        self,
        template: str,
        *,
        bos: str = "",
        eos: str = "",
        clock: Clock | None = None,
        seconds: float = SECONDS,
        require: Confinement | None = None,
    ) -> None:
        self._template, self._bos, self._eos, self._clock = template, bos, eos, clock or Clock()
        program = Program(MODULE, limits=Limits(memory_bytes=MEMORY))
        self._helper = Helper(program, timeout=seconds, output_cap=OUTPUT, require=require)
        self._queue, self._closed = ThreadPoolExecutor(1, thread_name_prefix="template"), False

    async def render(self, messages: Sequence[Mapping[str, Any]], **more: Any) -> str:
        """The prompt of a conversation; ``more`` as in :class:`Chat`.

        Raises:
            UsageError: the model has no template, or its template does not take these messages.
            Damaged: the template is broken, does not end, or writes without end.
            NoModel: the model is being unloaded.
        """
        try:
            waiting = self._queue.submit(self.render_now, Chat(messages, **more))
        except RuntimeError:  # closed
            raise _unloaded() from None
        try:
            return await asyncio.wrap_future(waiting)
        except asyncio.CancelledError:
            if self._closed:  # it was not the caller who went away
                raise _unloaded() from None
            raise

    def render_now(self, chat: Chat) -> str:
        """The same, for callers without an event loop. Any thread may call it."""
        if not self._template:
            raise UsageError("This model has no chat template.", then="Use /v1/completions with a prompt.")
        if len(self._template) > MAX_TEMPLATE:
            raise _broken(f"it is longer than {MAX_TEMPLATE} characters")
        payload = {
            "template": self._template,
            "messages": list(chat.messages),
            "tools": chat.tools,
            "add_generation_prompt": chat.add_generation_prompt,
            "bos": self._bos,
            "eos": self._eos,
            "now": self._clock.now().isoformat(),
            "options": dict(chat.options),
        }
        return _prompt(self._ask(json.dumps(payload).encode()))

    def _ask(self, payload: bytes) -> object:
        try:
            return json.loads(self._helper.request(payload))
        except HelperTimeout:
            raise _broken("it does not come to an end") from None
        except HelperOverflow:
            raise _broken("it writes without end") from None
        except (HelperCrashed, ValueError):
            raise _broken("it made its helper crash") from None

    async def close(self) -> None:
        self._closed = True
        self._queue.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._helper.close)


def _prompt(reply: object) -> str:
    """The helper's answer is believed in its form only: the template may have taken the helper over."""
    match reply:
        case {"prompt": str(prompt)}:
            return prompt
        case {"refused": str(words)}:
            raise UsageError(f"The model's chat template does not take these messages: {words[:400]}")
        case {"broken": str(words)}:
            raise _broken(words[:400])
    raise _broken("its helper said something else than a prompt")


def _unloaded() -> LumenError:
    return NoModel("The model is being unloaded.", then="Ask again in a few seconds.")


def _broken(why: str) -> LumenError:
    return Damaged(
        f"The model's chat template is not usable: {why}.",
        kept="Nothing was changed.",
        then="Ask the model's publisher for a corrected version.",
    )
