"""Sixteen people under one system prompt of 600 words: ``python -m benchmarks prefix``.

Every run has a system prompt that neither server has seen. The operator of the box publishes it; llama-server finds
common beginnings by itself, within a slot. In the first round all sixteen ask at once; in the later rounds they ask
something else under the same prompt, and llama-server's slots hold it by then. The peer is measured with separate
streams, and with unified KV and ``--cache-reuse``; the better one counts.

``python -m benchmarks.prefix load URL`` is one run against any server, as one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from . import clients, servers, weights
from .clients import Address
from .harness import Aim, Side, compare, python
from .serving import summary
from .texts import Writer

SYSTEM: Final = 600  # words
QUESTION: Final = 20
PEERS: Final = {
    "separate KV": ("--no-kv-unified",),
    "unified KV": ("--kv-unified", "--cache-reuse", "256"),
}
AIMS: Final = [
    Aim("first rate", "tokens/s", least=3.0),
    Aim("first token", "s", most=1 / 3),
    Aim("later rate", "tokens/s", least=1.4),
    Aim("later token", "s", most=1 / 4),
    Aim("cached", "tokens", alone=True),
    Aim("asking", "cores", alone=True),
]


def main(words: Sequence[str] = ()) -> None:
    options = _options(words)
    shape = servers.Shape(options.clients, options.context)
    peers = {} if options.without_peer else PEERS
    with servers.side_by_side(options.model, shape, options.clients, peers) as running:
        sides = [_side(name, server, options) for name, server in running.items()]
        title = f"{options.clients} people under one system prompt of {options.system} words, {options.model}"
        compare(title, sides, AIMS, rounds=options.rounds, rehearse=False)


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks prefix", description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=weights.NAMES, default="Q8_0")
    parser.add_argument("--context", type=int, default=2048, help="tokens of each sequence")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-peer", action="store_true", help="only the box")
    return _what(parser).parse_args(words)


def _what(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=48, help="of each answer")
    parser.add_argument("--system", type=int, default=SYSTEM, help="words of the system prompt")
    parser.add_argument("--later", type=int, default=2, help="rounds after the first")
    return parser


def _side(name: str, server: servers.Server, options: argparse.Namespace) -> Side:
    words = ["--clients", str(options.clients), "--tokens", str(options.tokens)]
    words += ["--system", str(options.system), "--later", str(options.later)]
    words += ["--publish"] if server.home else []
    return Side(name, python("-m", "benchmarks.prefix", "load", server.url, *words), reports=True)


def load(words: Sequence[str]) -> None:
    """One run against one server; prints its numbers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prefix load")
    parser.add_argument("url")
    parser.add_argument("--publish", action="store_true", help="publish the prompt in the box whose home is known")
    options = _what(parser).parse_args(words)
    tokens = servers.tokens()
    people = [Address.of(options.url, tokens[n % len(tokens)]) for n in range(options.clients)]
    writer = Writer()
    system = writer.text(options.system)
    if options.publish:
        asyncio.run(servers.published(Path(os.environ[servers.HOME]), "benchmark", system))
    rounds = [_round(people, writer, system, options.tokens) for _ in range(1 + options.later)]
    print(json.dumps(_measures(rounds)))


def _round(people: Sequence[Address], writer: Writer, system: str, tokens: int) -> dict[str, float]:
    """Everybody asks something of their own at once."""
    questions = [writer.question(QUESTION, system) for _ in people]
    asks = [lambda person, one=one: clients.ask(people[person], one, tokens) for one in questions]
    answers, share = clients.run(clients.closed_loop(len(people), asks))
    clients.refuse_failures(answers)
    cached = [answer.usage.get("prompt_tokens_details", {}).get("cached_tokens", 0) for answer in answers]
    return summary(answers) | {"asking": share, "cached": statistics.fmean(cached)}


def _measures(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    first, later = rounds[0], rounds[1:]
    return {
        "first rate": first["rate"],
        "first token": first["first"],
        "later rate": statistics.median(one["rate"] for one in later),
        "later token": statistics.median(one["first"] for one in later),
        "cached": first["cached"],
        "asking": first["asking"],
    }


if __name__ == "__main__":
    load(sys.argv[2:]) if sys.argv[1:2] == ["load"] else main(sys.argv[1:])
