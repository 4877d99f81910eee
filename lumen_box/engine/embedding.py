"""One request for embeddings inside the worker: from ``Embed`` to ``Finished``.

Whatever is wrong with it is found before any of it is read, and said with both numbers where it is a matter of size.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..errors import TooLong, UsageError
from .llama import Model
from .protocol import MAX_INPUT_TOKENS, MAX_INPUTS, MAX_NUMBERS, Embed, Finished, Reason, Timings, Usage
from .tokenizing import tokenize
from .turns import Reading


def check_inputs(request: Embed, width: int) -> None:
    """``UsageError`` for what the gateway should have refused already, and for vectors that are too much together."""
    count = len(request.inputs)
    if not 0 < count <= MAX_INPUTS:
        raise UsageError(f"There are {count} inputs; from 1 to {MAX_INPUTS} can be embedded at once.")
    if count * width > MAX_NUMBERS:
        raise UsageError(
            f"{count} inputs of this model give {count * width} numbers; {MAX_NUMBERS} can be given at once.",
            then=f"Send at most {MAX_NUMBERS // width} inputs in one request.",
        )


def input_tokens(model: Model, request: Embed, context: int) -> list[list[int]]:
    """The tokens of every input: at least one each, and at most ``context``.

    Raises:
        TooLong: with the number of tokens and what can be read, of one input or of all together.
        UsageError: an input without any token, or with one that the model does not have.
    """
    texts: list[list[int]] = []
    total = 0
    for number, text in enumerate(request.inputs):
        ids = list(_ids(model, text, context, number))
        _check(model, ids, context, number)
        total += len(ids)
        if total > MAX_INPUT_TOKENS:
            raise TooLong(
                f"The inputs have {total} tokens or more; {MAX_INPUT_TOKENS} can be embedded at once.",
                then="Send fewer inputs in one request.",
            )
        texts.append(ids)
    return texts


def _ids(model: Model, text: str | tuple[int, ...], context: int, number: int) -> Iterator[int]:
    if not isinstance(text, str):
        return iter(text)
    try:
        return iter(tokenize(model, text, add_special=True, parse_special=False))
    except TooLong as error:
        raise TooLong(f"`input[{number}]` cannot be read. {error.what}", then="Shorten it.") from None


def _check(model: Model, ids: list[int], context: int, number: int) -> None:
    if not ids:
        raise UsageError(f"`input[{number}]` is empty.")
    if any(not 0 <= token < model.size for token in ids):
        raise UsageError(f"`input[{number}]` holds a token that the model does not have.")
    if len(ids) > context:
        raise TooLong(
            f"`input[{number}]` has {len(ids)} tokens, but this model reads {context} at once.",
            then="Shorten it, or cut it into several.",
        )


class Embedding:
    """The state of one request. Made in the tokenising thread, then owned by the decode thread."""

    def __init__(self, request: Embed, texts: list[list[int]]) -> None:
        self.request = request
        self.reading = Reading(request.id, texts, request.priority, request.owner)
        self.tokens = sum(map(len, texts))
        self._arrived = time.monotonic()
        self._started = 0.0

    def begin(self) -> None:
        """The first of its texts goes into a step."""
        self._started = self._started or time.monotonic()

    @property
    def complete(self) -> bool:
        return not self.reading.unread

    def finished(self, reason: Reason, message: str = "") -> Finished:
        now = time.monotonic()
        started = self._started or now
        timings = Timings(started - self._arrived, now - started, 0.0)
        return Finished(self.request.id, reason, Usage(self.tokens, 0), timings, None, message)

    def close(self) -> None:
        """Nothing outside Python is held."""
