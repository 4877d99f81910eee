"""Long work over the wire: one JSON object a line, and a last line that says how it ended.

    {"step": "Copying"}   {"advance": {"done": 3, "total": 9, "unit": "bytes"}}   {"note": "…"}
    {"result": …}   or   {"error": {…}}     exactly one, last

Blank lines are signs of life and mean nothing.
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import Damaged, LumenError
from ..progress import Advance, Event, Note, Step
from .errors import body_of, error_from

MEDIA_TYPE = "application/x-ndjson"
ALIVE = b"\n"
MAX_LINE = 4 * 1024 * 1024


def _line(members: dict[str, Any]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode() + b"\n"


def event_line(event: Event) -> bytes:
    match event:
        case Step(title):
            return _line({"step": title})
        case Advance(done, total, unit):
            return _line({"advance": {"done": done, "total": total, "unit": unit}})
        case Note(text):
            return _line({"note": text})


def result_line(result: Any) -> bytes:
    return _line({"result": result})


def error_line(error: LumenError) -> bytes:
    return _line(body_of(error))


class Result:
    """The last line of work that went well; ``value`` is JSON."""

    def __init__(self, value: Any) -> None:
        self.value = value


def parse_line(line: bytes | str) -> Event | Result | None:
    """What one line says; None for a sign of life. Raises the error that an error line carries."""
    if not line.strip():
        return None
    try:
        members = json.loads(line)
    except ValueError as error:
        raise Damaged("The gateway's report of its progress cannot be read.") from error
    match members:
        case {"step": str(title)}:
            return Step(title)
        case {"advance": {"done": int(done), "total": int(total), "unit": str(unit)}}:
            return Advance(done, total, unit)
        case {"note": str(text)}:
            return Note(text)
        case {"result": value}:
            return Result(value)
        case {"error": _}:
            raise error_from(members)
    raise Damaged("The gateway's report of its progress cannot be read.")
