"""Asking: one question from the shell, or a conversation line by line."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer

from ..errors import LumenError, NoModel, TooLong, UsageError
from ..progress import Step
from .common import Json, complain, emit, plain, reporting, say
from .elsewhere import Reach, TokenFile, Url, reaching

T = TypeVar("T")
MAX_INPUT = 8 * 1024 * 1024  # bytes from standard input
HOW_TO_CHAT = "Write a line and press Enter. Ctrl-C stops an answer, Ctrl-D ends the chat."
Model = Annotated[str | None, typer.Option(metavar="NAME", help="The model to ask; else the default one.")]
System = Annotated[str | None, typer.Option(metavar="TEXT", help="What the model is told before the question.")]
Temperature = Annotated[
    float | None, typer.Option(metavar="NUMBER", min=0.0, help="0 always takes the likeliest word.")
]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", metavar="N", min=1, help="The longest answer; a word is a token or more.")
]
Seed = Annotated[int | None, typer.Option(metavar="N", min=0, help="The same seed gives the same answer.")]


def ask(
    context: typer.Context,
    question: Annotated[
        str | None, typer.Argument(metavar="QUESTION", help="What to ask; standard input is added below it.")
    ] = None,
    model: Model = None,
    system: System = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    seed: Seed = None,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Ask one question; the answer goes to standard output."""
    reach = reaching(context, url, token_file)
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": _question(question)})
    options = {"model": model, "temperature": temperature, "max_tokens": max_tokens, "seed": seed}
    live = sys.stdout.isatty() and not as_json

    async def work(client: Any) -> Answer:
        return await answer(client, messages, options, live)

    told = _run(reach, work)
    if as_json:
        emit(
            {"answer": told.text, "reasoning": told.reasoning or None, "finish": told.finish, "usage": told.usage},
            True,
            "",
        )
    elif not live:
        typer.echo(told.text)
    if told.cut_off and not as_json:
        say(told.cut_off)


def _run(reach: Reach, work: Callable[[Any], Awaitable[T]]) -> T:
    import asyncio

    async def run() -> T:
        async with reach() as client:
            return await work(client)

    return asyncio.run(run())


def _question(question: str | None) -> str:
    """The argument, and below it what was piped in."""
    piped = ""
    if not sys.stdin.isatty():
        data = sys.stdin.buffer.read(MAX_INPUT + 1)
        if len(data) > MAX_INPUT:
            raise UsageError(
                f"Standard input is larger than {MAX_INPUT // 1024**2} MiB.",
                kept="Nothing was asked.",
                then="Pipe a part of it.",
            )
        piped = data.decode("utf-8", "replace").strip()
    text = "\n\n".join(part for part in (question, piped) if part)
    if not text:
        raise UsageError("There is no question.", then="Write one after `ask`, or pipe text into it.")
    return text


class Answer:
    """What came back so far."""

    def __init__(self) -> None:
        self.text, self.reasoning, self.finish = "", "", ""
        self.usage: dict[str, Any] = {}
        self.trimmed = 0

    @property
    def left_out(self) -> str:
        """A sentence about the beginning of a chat that the model was not given any more; empty where it was."""
        return f"(The oldest {self.trimmed} messages of this chat were left out.)" if self.trimmed else ""

    @property
    def cut_off(self) -> str:
        """A sentence about an answer that had to end before its end; empty for a whole one."""
        if self.finish != "length":
            return ""
        return f"(The answer was cut off after {self.usage.get('completion_tokens', 'too many')} tokens.)"


async def answer(
    client: Any, messages: list[dict[str, str]], options: dict[str, Any], live: bool, told: Answer | None = None
) -> Answer:
    """The whole answer; written to standard output as it comes, where ``live``. ``told`` holds it on the way. How many
    are before it is shown on stderr until it begins."""
    from ..client.chat import stream_chat

    told = told or Answer()
    async with contextlib.AsyncExitStack() as stack:
        waiting = stack.enter_context(contextlib.ExitStack())
        report = waiting.enter_context(reporting())
        asking = stream_chat(client, messages, on_waiting=lambda ahead: report(Step(_waiting(ahead))), **options)
        async for delta in await stack.enter_async_context(contextlib.aclosing(asking)):
            if delta.text or delta.reasoning:
                waiting.close()
            told.trimmed = told.trimmed or delta.trimmed
            told.text += delta.text
            told.reasoning += delta.reasoning
            told.finish, told.usage = delta.finish or told.finish, delta.usage or told.usage
            if live:
                sys.stdout.write(plain(delta.text))
                sys.stdout.flush()
    if live:
        sys.stdout.write("\n")
    return told


def _waiting(ahead: int) -> str:
    return f"Waiting: {ahead} before you" if ahead else "Waiting: you are next"


def chat(
    context: typer.Context,
    model: Model = None,
    system: System = None,
    temperature: Temperature = None,
    trim: Annotated[
        bool, typer.Option("--trim", help="Leave out the oldest turns of a chat that has become too long.")
    ] = False,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Talk with a model, line by line. Ctrl-C stops an answer, Ctrl-D ends the chat."""
    reach = reaching(context, url, token_file)
    _run(reach, lambda client: _expect_answers(client, model))
    messages = [{"role": "system", "content": system}] if system else []
    options = {"model": model, "temperature": temperature, "x_lumen_trim": trim or None}

    say(HOW_TO_CHAT)
    while (line := _line()) is not None:
        told = Answer()
        messages.append({"role": "user", "content": line})
        try:
            _run(reach, functools.partial(answer, messages=messages, options=options, live=True, told=told))
        except KeyboardInterrupt:
            say("\n(stopped)")
        except LumenError as error:
            if not sys.stdin.isatty():
                raise
            complain(_in_a_chat(error))
        if told.text:
            messages.append({"role": "assistant", "content": told.text})
        else:
            messages.pop()
        for sentence in filter(None, (told.cut_off, told.left_out)):
            say(sentence)


async def _expect_answers(client: Any, model: str | None) -> None:
    """Raises what would keep the first line from being answered, before anybody has written it."""
    from urllib.parse import quote

    found = [await client.get(f"/v1/models/{quote(model)}")] if model else (await client.get("/v1/models"))["data"]
    if any(one.get("role", "chat") == "chat" for one in found):
        return
    if model is not None:
        raise UsageError(f"{found[0]['id']} is an embedding model: it does not write.", then="Name a chat model.")
    raise NoModel("No model answers here.", then="`lumen-box status` says why.")


def _in_a_chat(error: LumenError) -> LumenError:
    if isinstance(error, TooLong):
        return TooLong(
            error.what, then="Write less, or begin anew after Ctrl-D: `chat --trim` leaves the oldest turns out."
        )
    return error


def _line() -> str | None:
    """What the person writes; None at the end. An empty line asks nothing, and Ctrl-C ends nothing: both happen."""
    if sys.stdin.isatty():
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - line editing and history for input()
    while True:
        try:
            if line := input("> ").strip():
                return line
        except EOFError:
            say("")
            return None
        except KeyboardInterrupt:
            if not sys.stdin.isatty():
                raise
            say("\n(Ctrl-D ends the chat)")
