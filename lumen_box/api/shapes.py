"""OpenAI's shapes of an answer: chat and bare completion, as a stream of chunks and as one object.

What is the same in every chunk is encoded once an answer. A log probability of minus infinity, which JSON cannot say,
is written as -9999, as OpenAI does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..engine.protocol import Alternative, Finished, Logprob, Tokens, Usage
from ..schemas import sse
from .generation import Generation
from .responses import dumps

LEAST_LOGPROB = -9999.0


def usage_of(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


class _Envelope:
    """What surrounds every chunk and object of one answer."""

    def __init__(self, generation: Generation, prefix: str, kind: str, wants_usage: bool) -> None:
        self.id = f"{prefix}-{generation.id}"
        self._generation, self._wants_usage = generation, wants_usage
        self._head = dumps(self.members(kind))[:-1] + b',"choices":['
        self._tail = b'],"usage":null}' if wants_usage else b"]}"

    def members(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self._generation.created,
            "model": self._generation.model,
        }

    def chunk(self, choice: dict[str, Any]) -> bytes:
        return sse.encode(self._head + dumps(choice) + self._tail)

    def first_chunk(self, choice: dict[str, Any]) -> bytes:
        """A chunk that also says what was left out of the prompt."""
        told = self.trimmed()
        tail = b"," + dumps(told)[1:-1] + b"}" if told else b"}"
        return sse.encode(self._head + dumps(choice) + self._tail[:-1] + tail)

    def trimmed(self) -> dict[str, Any]:
        """The member that says so, where that was allowed."""
        left_out = self._generation.trimmed
        return {} if left_out is None else {"x_lumen_trimmed": left_out}

    def usage_chunk(self, finished: Finished) -> bytes:
        if not self._wants_usage:
            return b""
        return sse.encode(self._head + b'],"usage":' + dumps(usage_of(finished.usage)) + b"}")


class ChatShape:
    """``chat.completion`` and its chunks. Text between the model's reasoning markers is ``reasoning_content``."""

    def __init__(self, generation: Generation, logprobs: bool = False, wants_usage: bool = False) -> None:
        self._envelope = _Envelope(generation, "chatcmpl", "chat.completion.chunk", wants_usage)
        self._logprobs = logprobs

    def opening(self) -> bytes:
        delta = {"role": "assistant", "content": ""}
        return self._envelope.first_chunk({"index": 0, "delta": delta, "logprobs": None, "finish_reason": None})

    def chunk(self, news: Tokens) -> bytes:
        delta = {}
        if news.reasoning:
            delta["reasoning_content"] = news.reasoning
        if news.text:
            delta["content"] = news.text
        logprobs = {"content": _chat_logprobs(news.logprobs)} if news.logprobs else None
        return self._chunk(delta, logprobs) if delta or logprobs else b""

    def closing(self, finished: Finished) -> bytes:
        return self._chunk({}, finish=finished.reason) + self._envelope.usage_chunk(finished)

    def _chunk(self, delta: dict[str, str], logprobs: Any = None, finish: str | None = None) -> bytes:
        return self._envelope.chunk({"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish})

    def whole(self, log: Sequence[Tokens], finished: Finished) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(news.text for news in log)}
        if reasoning := "".join(news.reasoning for news in log):
            message["reasoning_content"] = reasoning
        logprobs = {"content": _chat_logprobs(_logprobs(log))} if self._logprobs else None
        choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": finished.reason}
        said = {"choices": [choice], "usage": usage_of(finished.usage)}
        return self._envelope.members("chat.completion") | said | self._envelope.trimmed()


class CompletionShape:
    """``text_completion``, streamed and whole in the same form."""

    def __init__(self, generation: Generation, logprobs: bool = False, wants_usage: bool = False) -> None:
        self._envelope = _Envelope(generation, "cmpl", "text_completion", wants_usage)
        self._logprobs = logprobs
        self._offset = 0  # characters of the answer before the next token

    def opening(self) -> bytes:
        return b""

    def chunk(self, news: Tokens) -> bytes:
        logprobs = self._completion_logprobs(news.logprobs) if news.logprobs else None
        return self._chunk(news.text, logprobs) if news.text or logprobs else b""

    def closing(self, finished: Finished) -> bytes:
        return self._chunk("", finish=finished.reason) + self._envelope.usage_chunk(finished)

    def _chunk(self, text: str, logprobs: Any = None, finish: str | None = None) -> bytes:
        return self._envelope.chunk({"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish})

    def whole(self, log: Sequence[Tokens], finished: Finished) -> dict[str, Any]:
        text = "".join(news.text for news in log)
        logprobs = self._completion_logprobs(_logprobs(log)) if self._logprobs else None
        choice = {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finished.reason}
        return self._envelope.members("text_completion") | {"choices": [choice], "usage": usage_of(finished.usage)}

    def _completion_logprobs(self, chosen: Iterable[Logprob]) -> dict[str, Any]:
        shown: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for one in chosen:
            shown["tokens"].append(one.text)
            shown["token_logprobs"].append(_finite(one.logprob))
            shown["top_logprobs"].append({other.text: _finite(other.logprob) for other in one.top})
            shown["text_offset"].append(self._offset)
            self._offset += len(one.text)
        return shown


def _logprobs(log: Sequence[Tokens]) -> Iterable[Logprob]:
    return (one for news in log for one in news.logprobs)


def _chat_logprobs(chosen: Iterable[Logprob]) -> list[dict[str, Any]]:
    return [_candidate(one) | {"top_logprobs": [_candidate(other) for other in one.top]} for one in chosen]


def _candidate(token: Alternative) -> dict[str, Any]:
    return {"token": token.text, "logprob": _finite(token.logprob), "bytes": list(token.bytes)}


def _finite(logprob: float) -> float:
    return max(LEAST_LOGPROB, logprob)
