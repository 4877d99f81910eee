"""The helper that tries grammars out: ``python -m lumen_box.engine.grammar_worker``, started by the launcher.

A grammar or a schema is a stranger's program for the engine, which answers everybody. So it is read, checked and
followed for a while here first, where only this process can run out of time, stack or memory.

A request is JSON: ``schema`` (JSON Schema) or ``grammar`` (GBNF). The answer has ``grammar``, the GBNF to be used, or
``refused`` with a clause that says why and ``path``, the place in the schema.
"""

from __future__ import annotations

import json
import random
from typing import Any, Final

from ..launcher import child
from .gbnf import GrammarError, parse
from .grammar import DEAD, Automaton, TooAmbiguous
from .schema_grammar import schema_grammar
from .schema_merge import SchemaError

TRIAL_WALKS: Final = 4
TRIAL_BYTES: Final = 100  # of each walk
TRIAL_PIECE: Final = 4  # bytes that are followed at once, about as many as a token has


def main() -> None:
    child.serve(answer)


def answer(payload: bytes) -> bytes:
    """One request to one answer."""
    return json.dumps(reply(json.loads(payload))).encode()


def reply(request: dict[str, Any]) -> dict[str, str]:
    try:
        if "grammar" in request:
            return {"grammar": tried(request["grammar"])}
        return {"grammar": tried(schema_grammar(request["schema"]))}
    except SchemaError as error:
        return {"refused": str(error), "path": error.path}
    except GrammarError as error:
        return {"refused": str(error), "path": ""}
    except TooAmbiguous:
        return {"refused": "it leaves too many ways open at once", "path": ""}
    except (MemoryError, RecursionError):
        return {"refused": "it is too large", "path": ""}


def tried(text: str) -> str:
    """``text``, if it is a grammar that can be followed wherever a few chance walks lead."""
    automaton = Automaton(parse(text))
    for number in range(TRIAL_WALKS):
        _walk(automaton, random.Random(number))  # noqa: S311 - no secret
    return text


def _walk(automaton: Automaton, dice: random.Random) -> None:
    state, _ = automaton.rest(automaton.start)
    for at in range(TRIAL_BYTES):
        ways = [int(one) for one in automaton.row(state) if one != DEAD]
        if not ways:
            return
        state = dice.choice(ways)
        if at % TRIAL_PIECE == 0:
            state, _ = automaton.rest(state)


if __name__ == "__main__":
    main()
