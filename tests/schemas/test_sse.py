"""Event streams: what is written is read, however it is cut, and what the standard allows besides."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumen_box.errors import Damaged
from lumen_box.schemas.sse import DONE, KEEP_ALIVE, Decoder, Event, encode

LINES = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=20)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({at % (len(data) + 1) for at in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.lists(LINES, min_size=1, max_size=5), st.lists(st.integers(0, 10_000), max_size=8))
def test_what_is_written_is_read_however_it_is_cut(texts: list[str], cuts: list[int]) -> None:
    stream = b"".join(encode(json.dumps(text).encode()) + KEEP_ALIVE for text in texts) + DONE
    decoder = Decoder()
    found = [event.data for piece in cut(stream, cuts) for event in decoder.feed(piece)]
    assert found == [json.dumps(text) for text in texts] + ["[DONE]"]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [Event("a")]),
        (b"data:a\r\n\r\n", [Event("a")]),
        (b"data: a\r\rdata: b\r\r\n", [Event("a"), Event("b")]),
        (b"data: a\ndata: b\n\n", [Event("a\nb")]),
        (b"data\n\n", [Event("")]),
        (b"event: x\nid: 7\ndata: a\n\ndata: b\n\n", [Event("a", "x", "7"), Event("b", "message", "7")]),
        (b": comment\n\nretry: 3\nother: x\n\n", []),
        (b"event: x\n\ndata: a\n\n", [Event("a")]),
        (b"data: a\n", []),
        (b"data:  two spaces\n\n", [Event(" two spaces")]),
        ("data: é\n\n".encode(), [Event("é")]),
        (b"data: \xff\n\n", [Event("�")]),
    ],
    ids=str,
)
def test_what_the_standard_says(stream: bytes, events: list[Event]) -> None:
    assert list(Decoder().feed(stream + b" ")) == events  # one byte more, so that a CR at the end is decided
    decoder = Decoder()
    assert [event for byte in stream + b" " for event in decoder.feed(bytes([byte]))] == events


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 200, b"data: xxxxxxxxxx\n" * 20])
def test_an_endless_event_is_cut_short(piece: bytes) -> None:
    with pytest.raises(Damaged):
        list(Decoder(max_event=100).feed(piece))


def test_many_events_are_not_one_large_one() -> None:
    assert len(list(Decoder(max_event=100).feed(b"data: x\n\n" * 50))) == 50


@pytest.mark.parametrize("data", [b"a\nb", b"a\rb"])
def test_an_event_of_two_lines_is_never_written(data: bytes) -> None:
    with pytest.raises(ValueError, match="one line"):
        encode(data)
