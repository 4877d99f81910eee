"""Many streaming clients over HTTP: ``python -m benchmarks serving [--model Q4_K_M] [--clients 1 8 32] …``.

A box against llama-server. Each client asks a question of 105 words, reads the answer as it is written, and asks the
next, until all questions of the run are answered. Both servers run throughout with 32 sequences and are asked in turn;
they get different questions every time, greedy, and never end an answer early. The peer is measured with separate and
with unified KV, and the better one counts.

``python -m benchmarks.serving load URL --clients 8`` is one run against any server, as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from typing import Final

from . import clients, servers, weights
from .clients import Address, Answer
from .harness import Aim, Side, compare, python
from .texts import Writer

WORDS: Final = 105
PEERS: Final = {"separate KV": ("--no-kv-unified",), "unified KV": ("--kv-unified",)}
AIMS: Final = [
    Aim("rate", "tokens/s", least=1.0),
    Aim("first", "s"),
    Aim("first p95", "s"),
    Aim("gap", "ms", alone=True),
    Aim("gap p99", "ms", alone=True),
    Aim("asking", "cores", alone=True),
]


def main(words: Sequence[str] = ()) -> None:
    options = _options(words)
    shape = servers.Shape(options.parallel, options.context)
    peers = {} if options.without_peer else PEERS
    with servers.side_by_side(options.model, shape, max(options.clients), peers) as running:
        for people in options.clients:
            sides = [_side(name, server, people, options) for name, server in running.items()]
            title = f"{people} streaming clients, {options.model}, {options.tokens} tokens an answer"
            compare(title, sides, AIMS, rounds=options.rounds, rehearse=people == options.clients[0])


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks serving", description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=weights.NAMES, default="Q8_0")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--parallel", type=int, default=32, help="sequences of both servers")
    parser.add_argument("--context", type=int, default=1024, help="tokens of each sequence")
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-peer", action="store_true", help="only the box")
    return parser.parse_args(words)


def _side(name: str, server: servers.Server, people: int, options: argparse.Namespace) -> Side:
    words = ("load", server.url, "--clients", str(people), "--tokens", str(options.tokens))
    return Side(name, python("-m", "benchmarks.serving", *words), reports=True)


def load(words: Sequence[str]) -> None:
    """One run against one server; prints its numbers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving load")
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--tokens", type=int, default=64)
    options = parser.parse_args(words)
    tokens = servers.tokens()
    people = [Address.of(options.url, tokens[n % len(tokens)]) for n in range(options.clients)]
    print(json.dumps(measure(people, options.tokens)))


def measure(people: Sequence[Address], tokens: int) -> dict[str, float]:
    """Half as many questions again as there are ``people``, and at least four."""
    writer = Writer()
    questions = [writer.question(WORDS) for _ in range(max(4, len(people) * 3 // 2))]
    asks = [lambda person, one=one: clients.ask(people[person], one, tokens) for one in questions]
    answers, share = clients.run(clients.closed_loop(len(people), asks))
    clients.refuse_failures(answers)
    return summary(answers) | {"asking": share}


def summary(answers: Sequence[Answer]) -> dict[str, float]:
    """What the clients saw: tokens a second over all, seconds to the first, and milliseconds between others."""
    firsts = [answer.first for answer in answers]
    gaps = [gap * 1000 for answer in answers for gap in answer.gaps]
    seconds = max(answer.stamps[-1] for answer in answers) - min(answer.sent for answer in answers)
    return {
        "rate": sum(answer.tokens for answer in answers) / seconds,
        "first": statistics.median(firsts),
        "first p95": clients.percentile(firsts, 0.95),
        "gap": statistics.median(gaps),
        "gap p99": clients.percentile(gaps, 0.99),
    }


if __name__ == "__main__":
    load(sys.argv[2:]) if sys.argv[1:2] == ["load"] else main(sys.argv[1:])
