"""Progress over the wire."""

from __future__ import annotations

import pytest

from lumen_box.errors import Damaged, NoSpace
from lumen_box.progress import Advance, Event, Note, Step
from lumen_box.schemas.progress import ALIVE, Result, error_line, event_line, parse_line, result_line


@pytest.mark.parametrize("event", [Step("Copying é"), Advance(2**40, 2**41), Advance(1, 2, "files"), Note("a\nb")])
def test_an_event_is_one_line_and_comes_back_whole(event: Event) -> None:
    line = event_line(event)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert parse_line(line) == event


def test_the_last_line_is_a_result_or_raises() -> None:
    result = parse_line(result_line({"a": [1, None]}))
    assert isinstance(result, Result) and result.value == {"a": [1, None]}
    with pytest.raises(NoSpace, match="full") as caught:
        parse_line(error_line(NoSpace("The disk is full.", kept="All is as before.", then="Free some.")))
    assert (caught.value.kept, caught.value.then) == ("All is as before.", "Free some.")


def test_a_sign_of_life_says_nothing() -> None:
    assert parse_line(ALIVE) is None


@pytest.mark.parametrize("line", [b"x", b"[]", b"3", b"{}", b'{"step": 3}', b'{"advance": {"done": 1}}', b"\xff"])
def test_anything_else_is_damaged(line: bytes) -> None:
    with pytest.raises(Damaged):
        parse_line(line)
