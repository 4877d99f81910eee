"""Asking: one question from the shell, or a conversation line by line."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated, Any

import typer

from ..errors import Interrupted, UsageError
from .common import Json, emit, home_of, say
from .door import require_box, use

MAX_INPUT = 8 * 1024 * 1024  # bytes from standard input
Model = Annotated[str | None, typer.Option(metavar="NAME", help="The model to ask; else the default one.")]
System = Annotated[str | None, typer.Option(help="What the model is told before the question.")]
Temperature = Annotated[float | None, typer.Option(min=0.0, help="0 always takes the likeliest word.")]
MaxTokens = Annotated[int | None, typer.Option("--max-tokens", min=1, help="The longest answer.")]
Seed = Annotated[int | None, typer.Option(min=0, help="The same seed gives the same answer.")]


def ask(
    context: typer.Context,
    question: Annotated[str | None, typer.Argument(help="What to ask; standard input is added below it.")] = None,
    model: Model = None,
    system: System = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Ask one question; the answer goes to standard output."""
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": _question(question)})
    options = {"model": model, "temperature": temperature, "max_tokens": max_tokens, "seed": seed}
    live = sys.stdout.isatty() and not as_json

    async def work(client: Any) -> Answer:
        return await answer(client, messages, options, live)

    told = use(context, work)
    if as_json:
        emit(
            {"answer": told.text, "reasoning": told.reasoning or None, "finish": told.finish, "usage": told.usage},
            True,
            "",
        )
    elif not live:
        typer.echo(told.text)


def _question(question: str | None) -> str:
    """The argument, and below it what was piped in."""
    piped = ""
    if not sys.stdin.isatty():
        data = sys.stdin.buffer.read(MAX_INPUT + 1)
        if len(data) > MAX_INPUT:
            raise UsageError(f"Standard input is larger than {MAX_INPUT} bytes.")
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


async def answer(client: Any, messages: list[dict[str, str]], options: dict[str, Any], live: bool) -> Answer:
    """The whole answer; written to standard output as it comes, where ``live``."""
    from ..client.chat import stream_chat

    told = Answer()
    async with contextlib.aclosing(stream_chat(client, messages, **options)) as deltas:
        async for delta in deltas:
            told.text += delta.text
            told.reasoning += delta.reasoning
            told.finish, told.usage = delta.finish or told.finish, delta.usage or told.usage
            if live:
                sys.stdout.write(delta.text)
                sys.stdout.flush()
    if live:
        sys.stdout.write("\n")
    return told


def chat(context: typer.Context, model: Model = None, system: System = None, temperature: Temperature = None) -> None:
    """Talk with a model, line by line. An empty line or Ctrl-D ends it, Ctrl-C stops an answer."""
    import asyncio

    from .door import over_socket

    home = home_of(context)
    require_box(home)
    messages = [{"role": "system", "content": system}] if system else []
    options = {"model": model, "temperature": temperature}

    async def turn() -> Answer:
        async with over_socket(home) as client:
            return await answer(client, messages, options, live=True)

    say("Write a line and press Enter. An empty line or Ctrl-D ends the chat, Ctrl-C stops an answer.")
    while (line := _line()) is not None:
        messages.append({"role": "user", "content": line})
        try:
            messages.append({"role": "assistant", "content": asyncio.run(turn()).text})
        except KeyboardInterrupt:
            say("\n(stopped)")
            messages.pop()


def _line() -> str | None:
    """What the person writes; None at the end."""
    if sys.stdin.isatty():
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - line editing and history for input()
    try:
        return input("> ").strip() or None
    except EOFError:
        say("")
        return None
    except KeyboardInterrupt:
        raise Interrupted("") from None
