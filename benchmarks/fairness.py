"""Seven people read along while somebody else's document of 8,000 tokens is read: ``python -m benchmarks fairness``.

Measured are the gaps between the seven's tokens, first for a while without the document and then until the document's
own first token. What the gaps are at the 99th percentile with it, over what they are without, is to be at most 2; the
document must get its turn, too, so its time to first token stands beside it. llama-server is asked the same.

``python -m benchmarks.fairness load URL`` is one run against any server, as one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Final

from . import clients, servers, weights
from .clients import Address, Stream
from .harness import Aim, Side, compare, python
from .texts import Writer

WORDS: Final = 105
BEGUN: Final = 3  # events: the opening, and two with text
FIRST: Final = 2
SHARES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
PEERS: Final = {"separate KV": ("--no-kv-unified",), "unified KV": ("--kv-unified",)}
AIMS: Final = [
    *(Aim(f"{name} {when}", "ms", alone=True) for when in ("without", "with") for name in SHARES),
    Aim("p99 ratio", "x", most=2.0, alone=True),
    Aim("document", "s"),
    Aim("prompt", "tokens", alone=True),
    Aim("asking", "cores", alone=True),
]


def main(words: Sequence[str] = ()) -> None:
    options = _options(words)
    shape = servers.Shape(options.people + 1, options.context)
    peers = {} if options.without_peer else PEERS
    with servers.side_by_side(options.model, shape, options.people + 1, peers) as running:
        sides = [_side(name, server, options) for name, server in running.items()]
        title = f"{options.people} people reading along, a document of {options.words} words, {options.model}"
        compare(title, sides, AIMS, rounds=options.rounds, rehearse=False)


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks fairness", description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=weights.NAMES, default="Q8_0")
    parser.add_argument("--context", type=int, default=10240, help="tokens of each sequence")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-peer", action="store_true", help="only the box")
    return _what(parser).parse_args(words)


def _what(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--people", type=int, default=7)
    parser.add_argument("--words", type=int, default=5200, help="of the document")
    parser.add_argument("--seconds", type=float, default=15.0, help="without the document")
    return parser


def _side(name: str, server: servers.Server, options: argparse.Namespace) -> Side:
    words = ["--people", str(options.people), "--words", str(options.words), "--seconds", str(options.seconds)]
    return Side(name, python("-m", "benchmarks.fairness", "load", server.url, *words), reports=True)


def load(words: Sequence[str]) -> None:
    """One run against one server; prints its numbers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness load")
    parser.add_argument("url")
    options = _what(parser).parse_args(words)
    tokens = servers.tokens()
    everybody = [Address.of(options.url, tokens[n % len(tokens)]) for n in range(options.people + 1)]
    scene = _scene(everybody[:-1], everybody[-1], options.words, options.seconds)
    measures, share = clients.run(scene)
    print(json.dumps(measures | {"asking": share}))


async def _scene(people: Sequence[Address], other: Address, words: int, seconds: float) -> dict[str, float]:
    writer = Writer()
    enough = words * 2  # more than anybody reads meanwhile; the context bounds it, too
    streams = [await clients.open_stream(one, writer.question(WORDS), enough) for one in people]
    try:
        await _all_reach(streams, BEGUN)
        begun = time.perf_counter()
        await asyncio.sleep(seconds)
        document = await clients.open_stream(other, writer.question(words), 8)
        await _all_reach([document], FIRST)
        ended = time.perf_counter()
        await document.ended
    finally:
        for stream in streams:
            stream.transport.abort()
    said = document.answer()
    clients.refuse_failures([said])
    without = list(_gaps(streams, begun, document.sent))
    during = list(_gaps(streams, document.sent, ended))
    return _shares(without, "without") | _shares(during, "with") | _document(said, without, during)


async def _all_reach(streams: Sequence[Stream], events: int) -> None:
    async with asyncio.timeout(clients.PATIENCE):
        if not all(await asyncio.gather(*(stream.reach(events) for stream in streams))):
            clients.refuse_failures(stream.answer() for stream in streams)
            raise SystemExit("An answer ended before the document was read: its context is too small.")


def _gaps(streams: Iterable[Stream], begin: float, end: float) -> Iterable[float]:
    """The gaps that ended between two times, in milliseconds."""
    for stream in streams:
        answer = stream.answer()
        for stamp, gap in zip(answer.stamps[1:], answer.gaps, strict=True):
            if begin < stamp <= end:
                yield gap * 1000


def _shares(gaps: Sequence[float], when: str) -> dict[str, float]:
    return {f"{name} {when}": clients.percentile(gaps, share) for name, share in SHARES.items()}


def _document(said: clients.Answer, without: Sequence[float], during: Sequence[float]) -> dict[str, float]:
    ratio = clients.percentile(during, 0.99) / clients.percentile(without, 0.99)
    return {"p99 ratio": ratio, "document": said.first, "prompt": float(said.usage["prompt_tokens"])}


if __name__ == "__main__":
    load(sys.argv[2:]) if sys.argv[1:2] == ["load"] else main(sys.argv[1:])
