"""From what a caller wants an answer to look like to a grammar that the engine can be given.

The gateway's side of ``grammar_worker``. A schema or grammar that takes too long, or too much, costs its helper's life
and its caller a sentence; the next request gets a fresh helper. What was found good is remembered for its owner alone,
so that nobody learns by the clock what another one uses.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from ..errors import UsageError
from ..launcher import Confinement, Helper, HelperCrashed, HelperOverflow, HelperTimeout, Limits, Program
from .gbnf import MAX_GRAMMAR
from .schema_forms import MAX_SCHEMA

MODULE: Final = "lumen_box.engine.grammar_worker"
SECONDS: Final = 5.0
MEMORY: Final = 512 << 20
REMEMBERED: Final = 64  # grammars
_ONE_THREAD: Final = {"OPENBLAS_NUM_THREADS": "1"}  # more would reserve more addresses than it may have
_OUTPUT: Final = 6 * MAX_GRAMMAR + 4096  # every character escaped
ANY_OBJECT: Final[dict[str, Any]] = {"type": "object"}


class GrammarRefused(UsageError):
    """The grammar or schema cannot be used. ``path`` is the place in the schema, such as ``.properties.age.not``."""

    def __init__(self, why: str, path: str = "") -> None:
        super().__init__(why, kept="Nothing was generated.")
        self.path = path


class Grammars:
    """Tries grammars out, one at a time, in a helper that starts with the first of them.

    Args:
        seconds: for one grammar.
        require: the least confinement of the helper.
    """

    def __init__(self, *, seconds: float = SECONDS, require: Confinement | None = None) -> None:
        program = Program(MODULE, limits=Limits(memory_bytes=MEMORY), environment=_ONE_THREAD)
        self._helper = Helper(program, timeout=seconds, output_cap=_OUTPUT, require=require)
        self._queue = ThreadPoolExecutor(1, thread_name_prefix="grammar")
        self._known: OrderedDict[bytes, str] = OrderedDict()

    async def of_schema(self, schema: Mapping[str, Any], owner: str) -> str:
        """The grammar of a JSON schema, whose start rule is ``root``. Raises ``GrammarRefused``."""
        payload = json.dumps({"schema": schema}).encode()
        if len(payload) > MAX_SCHEMA + 64:
            raise GrammarRefused(f"has more than {MAX_SCHEMA} bytes")
        return await self._tried(payload, owner)

    async def of_text(self, grammar: str, owner: str) -> str:
        """A grammar in GBNF, as it is, if it can be used. Raises ``GrammarRefused``."""
        if len(grammar.encode("utf-8", "replace")) > MAX_GRAMMAR:
            raise GrammarRefused(f"it has more than {MAX_GRAMMAR} bytes")
        return await self._tried(json.dumps({"grammar": grammar}).encode(), owner)

    async def _tried(self, payload: bytes, owner: str) -> str:
        name = hashlib.sha256(owner.encode() + b"\0" + payload).digest()
        if name in self._known:
            self._known.move_to_end(name)
            return self._known[name]
        found = _grammar(await asyncio.wrap_future(self._queue.submit(self._ask, payload)))
        self._known[name] = found
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found

    def _ask(self, payload: bytes) -> object:
        try:
            return json.loads(self._helper.request(payload))
        except HelperTimeout:
            raise GrammarRefused("it takes too long to be tried out") from None
        except (HelperCrashed, HelperOverflow, ValueError):
            raise GrammarRefused("it made the helper crash that tried it out") from None

    async def close(self) -> None:
        """Ends the helper and forgets; a later request starts another."""
        self._known.clear()
        await asyncio.to_thread(self._helper.close)


def _grammar(reply: object) -> str:
    """The helper's answer is believed in its form only: the grammar is read once more by the engine."""
    match reply:
        case {"grammar": str(grammar)}:
            return grammar
        case {"refused": str(why), "path": str(path)}:
            raise GrammarRefused(why[:400], path[:1000])
    raise GrammarRefused("it made the helper crash that tried it out")
