"""Asking: a conversation in, the answer as it comes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import Damaged, Interrupted
from ..schemas import sse
from ..schemas.errors import error_from
from .transport import Client


@dataclass(frozen=True)
class Delta:
    """What one event added. ``finish`` (``stop`` or ``length``) and ``usage`` come once, at the end; ``trimmed``, the
    number of oldest messages that were left out, at the beginning."""

    text: str = ""
    reasoning: str = ""
    finish: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    trimmed: int = 0


async def stream_chat(
    client: Client,
    messages: Sequence[dict[str, str]],
    model: str | None = None,
    *,
    on_waiting: Callable[[int], None] = lambda _: None,
    **options: Any,
) -> AsyncGenerator[Delta, None]:
    """The answer, piece by piece. ``options`` are those of the API; one that is None is not sent. While the request
    waits, ``on_waiting`` hears how many will be begun before it.

    Leaving the iteration early ends the answer on the box; close the generator, or it waits for the collector.
    Raises what the gateway raised, also in the middle, and ``Interrupted`` where the stream breaks off.
    """
    asked = {"messages": list(messages), "model": model, **options}
    body = {name: value for name, value in asked.items() if value is not None}
    body |= {"stream": True, "stream_options": {"include_usage": True}}

    def comment(text: str) -> None:
        if (ahead := sse.waiting_in(text)) is not None:
            on_waiting(ahead)

    async with contextlib.aclosing(client.events("/v1/chat/completions", body, comment)) as events:
        async for event in events:
            if event.data == "[DONE]":
                return
            yield _delta(event.data)
    raise Interrupted("The answer broke off: the gateway closed the stream.", then="Ask again.")


def _delta(data: str) -> Delta:
    try:
        chunk = json.loads(data)
        if "error" in chunk:
            raise error_from(chunk)
        usage = chunk.get("usage") or {}
        if not chunk["choices"]:
            return Delta(usage=usage)
        choice = chunk["choices"][0]
        said = choice["delta"]
        return Delta(
            said.get("content") or "",
            said.get("reasoning_content") or "",
            choice["finish_reason"],
            usage,
            int(chunk.get("x_lumen_trimmed") or 0),
        )
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise Damaged("An event of the answer cannot be read.") from error
