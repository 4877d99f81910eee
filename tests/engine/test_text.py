"""What may be shown of an answer, and when: characters, markers, stop strings."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumen_box.engine.text import AnswerText

MARKERS = ("<think>", "</think>")


@dataclass(frozen=True)
class Shown:
    text: str
    reasoning: str = ""
    stop: str | None = None


def show(
    tokens: list[bytes], stops: tuple[str, ...] = (), markers: tuple[str, str] | None = None, inside: bool = False
) -> tuple[Shown, list[str]]:
    """What is shown in all, and the text shown after each token."""
    answer: AnswerText[None] = AnswerText(stops, markers, inside=inside)
    pieces = []
    for token in tokens:
        pieces.append(answer.feed(token))
        if answer.stop_text is not None:
            break
    pieces.append(answer.finish())
    text = "".join(piece.text for piece in pieces)
    reasoning = "".join(piece.reasoning for piece in pieces)
    return Shown(text, reasoning, answer.stop_text), [piece.text for piece in pieces]


@pytest.mark.parametrize(
    ("tokens", "after_each"),
    [
        ([b"caf", b"\xc3", b"\xa9", b"!"], ["caf", "", "é", "!", ""]),
        ([b"\xf0", b"\x9f\x8e", b"\x89"], ["", "", "🎉", ""]),
        ([b"a\xc3"], ["a", ""]),  # cut in the middle: the half is dropped
        ([b"a\xff", b"b"], ["a�", "b", ""]),
        ([b"\xc3", b"x"], ["", "�x", ""]),
        ([b"", b"x"], ["", "x", ""]),
    ],
)
def test_half_a_character_is_held_back(tokens: list[bytes], after_each: list[str]) -> None:
    assert show(tokens)[1] == after_each


@pytest.mark.parametrize(
    ("tokens", "stops", "after_each", "stop"),
    [
        ([b"one", b" END", b" more"], ("END",), ["one", " ", ""], "END"),
        ([b"one E", b"N", b"D two"], ("END",), ["one ", "", "", ""], "END"),
        ([b"one E", b"N", b"gine"], ("END",), ["one ", "", "ENgine", ""], None),
        ([b"one E"], ("END",), ["one ", "E"], None),
        ([b"aab", b"aac"], ("aac",), ["aab", "", ""], "aac"),
        ([b"aa", b"a", b"c"], ("aac",), ["", "a", "", ""], "aac"),
        ([b"x\n", b"\nUser:"], ("\n\nUser:", "\n\n"), ["x", "", ""], "\n\nUser:"),
        ([b"x\n\n", b"y"], ("\n\n\n", "\n\n"), ["x", ""], "\n\n"),
        ([b"ab"], ("b", "ab"), ["", ""], "ab"),
        ([b"caf\xc3", b"\xa9"], ("é",), ["caf", "", ""], "é"),
        ([b"STOP"], ("STOP",), ["", ""], "STOP"),
    ],
)
def test_stop_strings_are_found_across_tokens(
    tokens: list[bytes], stops: tuple[str, ...], after_each: list[str], stop: str | None
) -> None:
    shown, pieces = show(tokens, stops)
    assert pieces == after_each
    assert shown.stop == stop


@pytest.mark.parametrize(
    ("tokens", "inside", "expected"),
    [
        ([b"<think>", b"\nhm\n", b"</think>", b"\n\nYes."], False, Shown("Yes.", "hm")),
        ([b"<th", b"ink>hm</thi", b"nk>Yes."], False, Shown("Yes.", "hm")),
        ([b"hm", b" hm </think>", b" Yes"], True, Shown("Yes", "hm hm")),
        ([b"<think></think>Yes"], False, Shown("Yes", "")),
        ([b"No markers <thin at all"], False, Shown("No markers <thin at all")),
        ([b"never closed \n"], True, Shown("", "never closed")),
        ([b"a <think>b</think> c <think>d</think>"], False, Shown("a c ", "bd")),
        ([b"lone </think> stays"], False, Shown("lone </think> stays")),
        ([b"<think>a <b> </thin</think>c"], False, Shown("c", "a <b> </thin")),
    ],
)
def test_reasoning_is_kept_apart(tokens: list[bytes], inside: bool, expected: Shown) -> None:
    assert show(tokens, (), MARKERS, inside)[0] == expected


def test_a_stop_string_counts_in_the_answer_only() -> None:
    shown, _ = show([b"<think>1. 2. END?</think>It is END of it"], ("END",), MARKERS)
    assert shown == Shown("It is ", "1. 2. END?", "END")


TEXTS = st.lists(
    st.sampled_from(["<think>", "</think>", "END", "E", "<", "é", "🎉", " ", "\n", "word", "N"]), max_size=12
)


@given(TEXTS, st.data())
def test_how_the_text_is_cut_into_tokens_makes_no_difference(parts: list[str], data: st.DataObject) -> None:
    raw = "".join(parts).encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=8)) | {0, len(raw)})
    tokens = [raw[start:end] for start, end in itertools.pairwise(cuts)]
    assert show(tokens, ("END",), MARKERS)[0] == show([raw], ("END",), MARKERS)[0]


@given(TEXTS, st.data())
def test_without_stops_and_markers_nothing_is_lost_or_late(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)) | {0, len(text)})
    tokens = [text[start:end].encode() for start, end in itertools.pairwise(cuts)]
    _, pieces = show(tokens)
    assert pieces == [token.decode() for token in tokens] + [""]


@pytest.mark.parametrize(
    ("tokens", "notes_after_each"),
    [
        ([b"a", b"b"], [["a"], ["b"], []]),
        ([b"x E", b"N", b"gine"], [[], [], ["x E", "N", "gine"], []]),
        ([b"x ", b"E", b"N", b"D"], [["x "], [], [], [], []]),
        ([b"x E", b"ND"], [[], ["x E"], []]),
        ([b"x ", b"EN"], [["x "], [], ["EN"]]),
        ([b"\xc3", b"\xa9", b"E"], [["\xc3"], ["\xa9"], [], ["E"]]),
    ],
)
def test_notes_come_with_their_text_and_none_for_a_stop_string(
    tokens: list[bytes], notes_after_each: list[list[str]]
) -> None:
    answer: AnswerText[str] = AnswerText(("END",))
    notes = [list(answer.feed(token, token.decode("latin-1")).notes) for token in tokens]
    assert [*notes, list(answer.finish().notes)] == notes_after_each
