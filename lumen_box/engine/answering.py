"""One request inside the worker: from ``Generate`` to ``Finished``.

Knows its sampler, its text and its limits; the scheduler knows its tokens. Whatever is wrong with a request is found
before it is scheduled, and said with both numbers where it is a matter of size.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from ..errors import TooLong, UsageError
from .constrained import ConstrainedSampler, Unanswerable
from .constraint import Constraint
from .gbnf import GrammarError, parse
from .grammar import TooAmbiguous
from .grammar_reasoning import after_reasoning
from .imitation import pieces_of
from .llama import Context, Floats, Model, SamplerChain
from .protocol import (
    MAX_LOGPROBS,
    MAX_STOP_LENGTH,
    MAX_STOP_TOKENS,
    MAX_STOPS,
    Alternative,
    Finished,
    Generate,
    Logprob,
    Reason,
    Timings,
    Tokens,
    Usage,
)
from .sequence import Running
from .text import AnswerText
from .tokenizing import tokenize

USUAL_PIECE = 8  # characters of a token; a text with fewer is not worth a look at the whole vocabulary
UNLIKELY = -9999.0  # a logarithm that JSON can hold, for a probability of nothing


def prompt_tokens(model: Model, request: Generate, context: int) -> list[int]:
    """The prompt's tokens; at least one, and fewer than ``context``, so that one more can be sampled.

    Raises:
        TooLong: with the number of the prompt's tokens and the context's.
        UsageError: an impossible token or limit.
    """
    if isinstance(request.prompt, str):
        _refuse_hopeless(model, request.prompt, request.breaks, context)
        ids = _tokenized(model, request)
    else:
        ids = list(request.prompt)
    if any(not 0 <= token < model.size for token in ids):
        raise UsageError("The prompt holds a token that the model does not have.")
    if not ids and model.bos >= 0:
        ids = [model.bos]
    if not ids:
        raise UsageError("The prompt is empty.")
    if len(ids) >= context:
        raise TooLong(
            f"The prompt has {len(ids)} tokens, but this model's context is {context} with the answer.",
            then="Shorten the prompt.",
        )
    return ids


def _tokenized(model: Model, request: Generate) -> list[int]:
    first, *others = pieces_of(str(request.prompt), request.breaks)
    ids = tokenize(model, first, add_special=True, parse_special=request.parse_special)
    for piece in others:
        ids += tokenize(model, piece, add_special=False, parse_special=request.parse_special)
    return ids


def _refuse_hopeless(model: Model, text: str, breaks: Sequence[int], context: int) -> None:
    """``TooLong`` for a text that cannot fit whatever its tokens are, without spending seconds on finding them."""
    least = len(breaks)  # there is a token before each of them
    if len(text) > context * USUAL_PIECE and model.longest_piece is not None:
        least = max(least, len(text.encode("utf-8", "replace")) // model.longest_piece)
    if least >= context:
        raise TooLong(
            f"The prompt has {least} tokens or more, but this model's context is {context} with the answer.",
            then="Shorten the prompt.",
        )


def check_limits(request: Generate) -> None:
    """``UsageError`` for what the gateway should have refused already."""
    if request.max_tokens is not None and request.max_tokens < 1:
        raise UsageError("max_tokens is less than 1.")
    if len(request.stop) > MAX_STOPS or any(not 0 < len(stop) <= MAX_STOP_LENGTH for stop in request.stop):
        raise UsageError(f"There are more than {MAX_STOPS} stop strings, or one is empty or too long.")
    if len(request.stop_tokens) > MAX_STOP_TOKENS:
        raise UsageError(f"There are more than {MAX_STOP_TOKENS} stop tokens.")
    if request.logprobs is not None and not 0 <= request.logprobs <= MAX_LOGPROBS:
        raise UsageError(f"logprobs is not between 0 and {MAX_LOGPROBS}.")


def _constraint(request: Generate, model: Model, markers: tuple[str, str] | None, inside: bool) -> Constraint | None:
    """``UsageError`` for a grammar that the gateway's helper should have refused already."""
    if request.grammar is None:
        return None
    try:
        grammar = parse(request.grammar)
        if markers:
            grammar = after_reasoning(grammar, markers, inside=inside)
        return Constraint(grammar, model.spelled, {*model.ending, *request.stop_tokens})
    except GrammarError as error:
        raise UsageError(f"The grammar cannot be used: {error}.") from None
    except TooAmbiguous:
        raise UsageError("The grammar leaves more ways open at once than can be followed.") from None


class Answering:
    """The state of one answer. Made in the tokenising thread, then owned by the decode thread.

    Raises:
        UsageError: the request's grammar cannot be used.
    """

    def __init__(
        self, request: Generate, ids: list[int], model: Model, context: int, markers: tuple[str, str] | None
    ) -> None:
        self.request, self._model = request, model
        self.sequence = Running(request.id, ids, request.priority, request.owner, request.isolated)
        self._most = min(request.max_tokens or context, context - len(ids))
        used = markers if request.split_reasoning else None
        inside = _opened(request.prompt, used)
        constraint = _constraint(request, model, used, inside)
        chain = SamplerChain(request.sampling, model)
        self._sampler = ConstrainedSampler(chain, constraint) if constraint else chain
        self._text: AnswerText[Logprob] = AnswerText(request.stop, used, inside=inside, once=constraint is not None)
        self._reasoning_tokens = 0
        self._arrived = time.monotonic()
        self._started = self._first = 0.0

    def begin(self) -> None:
        """The first of its tokens goes into a step."""
        self._started = self._started or time.monotonic()

    def sample(self, context: Context, row: int) -> tuple[Tokens, Finished | None]:
        """Draws the next token after ``row`` of the step that was just decoded."""
        try:
            token = self._sampler.sample(context, row)
        except Unanswerable as error:
            return self._last(Tokens(self.request.id, ()), "error", str(error))
        self._first = self._first or time.monotonic()
        if self._ends(token):
            return self._last(Tokens(self.request.id, ()), "stop")
        raw = self._model.piece(token)
        note = self._logprob(context.logits(row), token, raw) if self.request.logprobs is not None else None
        self._reasoning_tokens += self._text.inside_reasoning
        self.sequence.tokens.append(token)
        piece = self._text.feed(raw, note)
        news = Tokens(self.request.id, (token,), piece.text, piece.reasoning, piece.notes)
        if self._text.stop_text is not None or self._complete:
            return self._last(news, "stop")
        if self.sequence.generated >= self._most:
            return self._last(news, "length")
        return news, None

    @property
    def _complete(self) -> bool:
        """The grammar wants nothing more."""
        return isinstance(self._sampler, ConstrainedSampler) and self._sampler.complete

    def _ends(self, token: int) -> bool:
        if token in self.request.stop_tokens:
            return True
        return self._model.ends(token) and not self.request.sampling.ignore_eos

    def _last(self, news: Tokens, reason: Reason, message: str = "") -> tuple[Tokens, Finished]:
        rest = self._text.finish()
        if self._text.stop_text is not None:
            reason = "stop"
        news = Tokens(
            news.id, news.ids, news.text + rest.text, news.reasoning + rest.reasoning, news.logprobs + rest.notes
        )
        return news, self.finished(reason, message, UsageError.code if message else "")

    def finished(self, reason: Reason, message: str = "", code: str = "") -> Finished:
        now = time.monotonic()
        started = self._started or now
        first = self._first or now
        return Finished(
            self.request.id,
            reason,
            Usage(self.sequence.prompt, self.sequence.generated, self._reasoning_tokens, self.sequence.reused),
            Timings(started - self._arrived, first - started, now - first),
            self._text.stop_text,
            message,
            code,
        )

    def close(self) -> None:
        self._sampler.close()

    def _logprob(self, logits: Floats, token: int, raw: bytes) -> Logprob:
        count = self.request.logprobs or 0
        # in double precision, as a sum over a whole vocabulary loses digits otherwise
        wide = logits.astype(np.float64)
        peak = wide.max()
        total = peak + np.log(np.exp(wide - peak).sum())
        best = np.argpartition(wide, -count)[-count:] if count else np.empty(0, np.intp)
        ranked = sorted(best.tolist(), key=lambda other: (-wide[other], other))
        top = tuple(self._alternative(other, wide[other] - total) for other in ranked)
        return Logprob(token, raw.decode("latin-1"), _finite(wide[token] - total), top)

    def _alternative(self, token: int, logprob: float) -> Alternative:
        return Alternative(token, self._model.piece(token).decode("latin-1"), _finite(logprob))


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else UNLIKELY


def _opened(prompt: str | tuple[int, ...], markers: tuple[str, str] | None) -> bool:
    """Whether the template has opened the reasoning at the prompt's end, as some models' do."""
    return markers is not None and isinstance(prompt, str) and prompt.rstrip().endswith(markers[0])
