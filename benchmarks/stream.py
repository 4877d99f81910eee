"""One streaming client of the gateway against llama-cpp-python in process: ``python -m benchmarks.stream``.

The same model, prompt, context and threads, greedy, on both sides: through HTTP, the gateway and the sandboxed worker
with encrypted weights here; ``llama_cpp.Llama`` with the file in the clear, in the process that asks, there. It shows
what the way costs. Both say every answer twice, and the second one counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from . import material
from .harness import ROOT, Aim, Side, compare, heading, python

ROUNDS: Final = 4
TOKENS: Final = 48
CONTEXT: Final = 1024
BATCH: Final = 512
THREADS: Final = 1  # llama.cpp's threads wait for one another, so on a busy machine several measure the others' work
TEXT: Final = "The box stands in the cellar of the hospital and has no way out of the building. " * 2
MESSAGES: Final = [{"role": "user", "content": TEXT}]
TOKEN: Final = "LUMEN_BOX_BENCHMARK_TOKEN"  # noqa: S105 - the name of a variable


def main() -> None:
    with _gateway() as url:
        heading()
        clear = str(material.model().relative_to(ROOT))
        sides = [
            Side("gateway", python("-m", "benchmarks.stream", "gateway", url), reports=True),
            Side("in process", python("-m", "benchmarks.stream", "in-process", clear), reports=True),
        ]
        aims = [Aim("first", "s"), Aim("rate", "tokens/s")]
        compare(f"One streaming client, {TOKENS} tokens", sides, aims, rounds=ROUNDS)


@contextlib.contextmanager
def _gateway() -> Iterator[str]:
    """A gateway with the model loaded, on a box of its own."""
    medium, home = material.medium(), str(material.fresh_box())
    settings = f"[engine]\nparallel = 1\ncontext = {CONTEXT}\nbatch = {BATCH}\nthreads = {THREADS}\n"
    Path(home, "settings.toml").write_text(settings)
    material.say("--home", home, "model", "install", str(medium), material.NAME)
    material.say("--home", home, "model", "activate", material.NAME)
    os.environ[TOKEN] = json.loads(material.say("--home", home, "token", "create", "benchmark", "--json"))["token"]
    url = material.say("--home", home, "serve", "--port", "0", "--detach").strip()
    try:
        yield url
    finally:
        subprocess.run(material.lumen_box("--home", home, "stop"), check=True, capture_output=True)


def over_gateway(url: str) -> None:
    """Asks twice, and prints the second answer's seconds to the first token, and tokens a second after it."""
    from lumen_box.client.chat import stream_chat
    from lumen_box.client.transport import connect

    async def ask() -> list[float]:
        async with connect(url=url, token=os.environ[TOKEN]) as client:
            arrived = [time.perf_counter()]
            answer = stream_chat(client, MESSAGES, max_tokens=TOKENS, temperature=0.0, ignore_eos=True)
            return arrived + [time.perf_counter() async for delta in answer if delta.text or delta.reasoning]

    asyncio.run(ask())
    _print(asyncio.run(ask()))


def in_process(path: Path) -> None:
    """The same of ``llama_cpp.Llama``."""
    material.environment()
    from llama_cpp import Llama

    model: Any = Llama(
        str(path),
        n_ctx=CONTEXT,
        n_batch=BATCH,
        n_threads=THREADS,
        n_threads_batch=THREADS,
        use_mmap=False,
        verbose=False,
    )

    def ask() -> list[float]:
        model.reset()
        arrived = [time.perf_counter()]
        answer = model.create_chat_completion(MESSAGES, stream=True, max_tokens=TOKENS, temperature=0.0)
        return arrived + [time.perf_counter() for chunk in answer if chunk["choices"][0]["delta"].get("content")]

    ask()
    _print(ask())


def _print(arrived: list[float]) -> None:
    began, first, last = arrived[0], arrived[1], arrived[-1]
    print(json.dumps({"first": first - began, "rate": (len(arrived) - 2) / (last - first), "pieces": len(arrived) - 1}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["gateway", url]:
            over_gateway(url)
        case ["in-process", path]:
            in_process(Path(path))
        case _:
            main()
