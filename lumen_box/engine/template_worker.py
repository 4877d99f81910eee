"""The helper that renders chat templates: ``python -m lumen_box.engine.template_worker``, started by the launcher.

A template is a program by a stranger. It runs in Jinja's immutable sandbox, which keeps it from attributes and changes
that are not its business; in a process that may open nothing and talk to nobody, should it get out; with limits on
memory and output here, and on time from outside. What the template may use is what Hugging Face gives chat templates.

A request is JSON: template, messages, tools, add_generation_prompt, bos, eos, now, options. The answer has one member:
``prompt``, ``refused`` (the template raised an exception of its own about the messages) or ``broken``.
"""

from __future__ import annotations

import functools
import json
from datetime import datetime
from typing import Any, Final

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..launcher import child

MAX_PROMPT: Final = 16 * 1024 * 1024  # characters
MAX_WORDS: Final = 300
MAX_FORMAT: Final = 100


class TooMuch(Exception):
    """The template writes more than a prompt may hold."""


class RefusedByTemplate(Exception):
    """The template's own ``raise_exception``."""


class Generation(Extension):
    """``{% generation %}`` marks the assistant's words for training; here only its body counts."""

    tags = {"generation"}  # noqa: RUF012 - Jinja wants it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def main() -> None:
    child.serve(answer)


def answer(payload: bytes) -> bytes:
    """One request to one answer, whatever the template does short of killing the process."""
    request = json.loads(payload)
    try:
        reply = {"prompt": render(request)}
    except RefusedByTemplate as error:
        reply = {"refused": _words(error)}
    except TooMuch:
        reply = {"broken": f"it writes more than {MAX_PROMPT} characters"}
    except MemoryError:
        reply = {"broken": "it needs too much memory"}
    except TemplateError as error:
        reply = {"broken": f"{_words(error)} ({type(error).__name__})"}
    except Exception as error:  # a template can make Jinja raise anything
        reply = {"broken": f"{type(error).__name__}: {_words(error)}"}
    return json.dumps(reply).encode()


def render(request: dict[str, Any]) -> str:
    """The prompt. Counts while the template writes, so that one that never ends is not kept in memory."""
    now = datetime.fromisoformat(request["now"])
    pieces = []
    size = 0
    for piece in compiled(request["template"]).generate(
        messages=request["messages"],
        tools=request["tools"],
        add_generation_prompt=request["add_generation_prompt"],
        bos_token=request["bos"],
        eos_token=request["eos"],
        raise_exception=_raise,
        strftime_now=lambda form: now.strftime(str(form)[:MAX_FORMAT]),
        **request["options"],
    ):
        size += len(piece)
        if size > MAX_PROMPT:
            raise TooMuch
        pieces.append(piece)
    return "".join(pieces)


@functools.lru_cache(maxsize=8)
def compiled(source: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation]
    )
    environment.filters["tojson"] = _to_json
    return environment.from_string(source)


def _raise(message: object) -> None:
    raise RefusedByTemplate(str(message))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON; Jinja's own filter would escape it for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _words(error: BaseException) -> str:
    text = str(error)[:MAX_WORDS]
    return "".join(letter if letter.isprintable() else " " for letter in text)


if __name__ == "__main__":
    main()
