"""Sixty-four clients of every kind at once, for as long as asked: ``python -m benchmarks soak [--minutes 10]``.

Some ask shortly, some at length; some leave in the middle, some vanish with half a request sent, some read slowly, some
continue their own conversation, some stand under a published prompt. Nothing is compared here; it is to hold that

* no request fails that should not,
* neither the gateway nor the engine grows by more than ``GROWTH`` after the first minute (of a soak that is shorter
  than three minutes, the first third),
* when all have left, nothing runs and nothing waits, and as many answers as there are sequences can be written at once.

It ends with 1 where one of these does not hold. The memory for the KV of conversations that rest is kept so small that
it is full within the first seconds: afterwards it is evicted from all the time, and does not count as growth.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lumen_box.client.transport import connect
from lumen_box.paths import Home

from . import clients, servers, weights
from .clients import Address, Answer
from .harness import heading
from .texts import Messages, Writer

GROWTH: Final = 32 * 1024**2  # bytes
CACHE_MIB: Final = 32
SAMPLE: Final = 1.0  # seconds
SETTLES: Final = 30.0  # seconds in which everything is to end after the last client left
SMALL_BUFFER: Final = 4096  # bytes that a slow reader's socket takes
BUSY: Final = "lumen_generations_running", "lumen_generations_waiting", "lumen_engine_running", "lumen_engine_waiting"


@dataclass
class Log:
    """What happened: how often each kind of client did what, what failed, and the resident bytes over time."""

    done: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    tokens: int = 0
    resident: list[tuple[float, dict[str, int]]] = field(default_factory=list)

    def take(self, kind: str, answer: Answer) -> None:
        """Counts a whole answer, or notes why it is not one."""
        self.done[kind] += 1
        self.tokens += answer.tokens
        if answer.failure:
            self.failures.append(f"{kind}: {answer.failure}")


@dataclass(frozen=True)
class Person:
    """One client with an address and a dice of its own."""

    address: Address
    writer: Writer
    dice: random.Random
    log: Log
    system: str  # the published prompt

    async def live(self, until: float) -> None:
        kinds: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("short", self.short),
            ("long", self.long),
            ("leaving", self.leave),
            ("vanishing", self.vanish),
            ("slow", self.read_slowly),
            ("conversation", self.converse),
            ("published", self.under_prompt),
        ]
        while time.monotonic() < until:
            kind, act = self.dice.choice(kinds)
            try:
                await act()
            except (OSError, TimeoutError) as error:
                self.log.failures.append(f"{kind}: {type(error).__name__}: {error}")

    async def short(self) -> None:
        self.log.take("short", await clients.ask(self.address, self.writer.question(8), 8))

    async def long(self) -> None:
        self.log.take("long", await clients.ask(self.address, self.writer.question(120), 64))

    async def under_prompt(self) -> None:
        asked = self.writer.question(12, self.system)
        self.log.take("published", await clients.ask(self.address, asked, 16))

    async def leave(self) -> None:
        """Anywhere from before the first token to the middle."""
        stream = await clients.open_stream(self.address, self.writer.question(60), 400)
        await stream.reach(self.dice.randrange(20))
        stream.transport.abort()
        self.log.done["leaving"] += 1

    async def vanish(self) -> None:
        """Sends a part of a request, at times all of it, and is gone."""
        whole = self.address.request(clients.CHAT, {"messages": self.writer.question(20), "max_tokens": 64})
        _, writer = await asyncio.open_connection(self.address.host, self.address.port)
        writer.write(whole[: self.dice.randrange(1, len(whole) + 1)])
        await asyncio.sleep(self.dice.random() / 10)
        writer.transport.abort()
        self.log.done["vanishing"] += 1

    async def read_slowly(self) -> None:
        stream = await clients.open_stream(self.address, self.writer.question(20), 64, logprobs=True, top_logprobs=5)
        while not stream.ended.done():
            stream.transport.pause_reading()
            await asyncio.sleep(self.dice.random())
            stream.transport.resume_reading()
            await asyncio.sleep(0.01)
        self.log.take("slow", stream.answer())

    async def converse(self) -> None:
        """Three turns, each with all that was said before."""
        said: Messages = []
        for _ in range(3):
            said += self.writer.question(25)
            answer = await clients.ask(self.address, said, 24)
            self.log.take("conversation", answer)
            said = [*said, {"role": "assistant", "content": answer.text}]


def main(words: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--parallel", type=int, default=8)
    parser.add_argument("--model", choices=weights.NAMES, default=weights.TINY)
    options = parser.parse_args(words)
    shape = servers.Shape(options.parallel, 2048, cache_mib=CACHE_MIB)
    with servers.box(options.model, shape, options.clients) as server:
        heading()
        if complaints := soak(server, options.minutes * 60, shape.parallel):
            sys.exit("\n".join(complaints))


def soak(server: servers.Server, seconds: float, parallel: int) -> list[str]:
    """Lets everybody who has a token loose on a box for so long; prints what they did, returns what did not hold."""
    assert server.home is not None
    system = Writer().text(300)
    asyncio.run(servers.published(server.home, "soak", system))
    log = Log()
    people = [
        Person(Address.of(server.url, token), Writer(number), random.Random(number), log, system)
        for number, token in enumerate(server.tokens)
    ]
    complaints = asyncio.run(_soak(people, server.home, seconds, parallel))
    print(f"{len(people)} clients for {seconds:.0f} s: {log.tokens} tokens; {dict(sorted(log.done.items()))}")
    complaints += _growth(log, min(60.0, seconds / 3))
    return [*complaints, *(f"{count} x {what}" for what, count in Counter(log.failures).most_common(10))]


async def _soak(people: Sequence[Person], home: Path, seconds: float, parallel: int) -> list[str]:
    watching = asyncio.create_task(_watch(servers.Processes.of(home), people[0].log))
    until = time.monotonic() + seconds
    try:
        await asyncio.gather(*(person.live(until) for person in people))
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    busy = await _settled(home)
    return [f"{SETTLES:.0f} s after the last client left: {busy}"] if busy else await _all_slots(people, parallel)


async def _watch(processes: servers.Processes, log: Log) -> None:
    began = time.monotonic()
    while True:
        log.resident.append((time.monotonic() - began, processes.resident()))
        await asyncio.sleep(SAMPLE)


async def _settled(home: Path) -> dict[str, float]:
    """What still runs or waits when everything should have ended; empty where nothing does."""
    busy: dict[str, float] = {}
    until = time.monotonic() + SETTLES
    async with connect(socket=Home(home.absolute()).socket) as client:
        while time.monotonic() < until:
            lines = [line.rpartition(" ") for line in (await client.text("/metrics")).splitlines()]
            found = {name.partition("{")[0]: float(value) for name, _, value in lines if not name.startswith("#")}
            busy = {name: found[name] for name in BUSY if found[name]}
            if not busy:
                return {}
            await asyncio.sleep(0.2)
    return busy


async def _all_slots(people: Sequence[Person], parallel: int) -> list[str]:
    """Whether every sequence can still be had: so many answers are begun, and none has ended when all have begun."""
    asks = zip(range(parallel), itertools.cycle(people), strict=False)
    streams = [await clients.open_stream(one.address, one.writer.question(8), 1500) for _, one in asks]
    try:
        async with asyncio.timeout(SETTLES):
            begun = await asyncio.gather(*(stream.reach(3) for stream in streams))
    except TimeoutError:
        begun = [stream.events >= 3 for stream in streams]
    ended = sum(stream.ended.done() for stream in streams)
    for stream in streams:
        stream.transport.abort()
    return [] if all(begun) and not ended else [f"Of {parallel} sequences {sum(begun) - ended} were to be had at once."]


def _growth(log: Log, settled: float) -> list[str]:
    """Complaints about resident memory: its last samples against those at the time when it should have settled."""
    complaints = []
    for name in ("gateway", "workers"):
        before = [sizes[name] for at, sizes in log.resident if settled * 0.8 <= at <= settled]
        after = [sizes[name] for at, sizes in log.resident if at >= log.resident[-1][0] - settled * 0.2]
        grown = sorted(after)[len(after) // 2] - max(before)
        print(f"{name}: {max(before) / 1e6:.0f} MB after {settled:.0f} s, {grown / 1e6:+.1f} MB at the end")
        if grown > GROWTH:
            complaints.append(f"The {name} grew by {grown / 1e6:.0f} MB after the first {settled:.0f} s.")
    return complaints


if __name__ == "__main__":
    main(sys.argv[1:])
