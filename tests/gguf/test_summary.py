"""The manifest's facts come from the header."""

from __future__ import annotations

from pathlib import Path

import pytest

from lumen_box.errors import TooNew
from lumen_box.gguf import values as v
from lumen_box.gguf.model import Gguf
from lumen_box.gguf.reader import read_header
from lumen_box.gguf.split import Model
from lumen_box.gguf.summary import Summary, summarise
from tests.support import bad_gguf, good_gguf, tiny_model


def parsed(data: bytes) -> Gguf:
    return read_header(lambda offset, count: data[offset : offset + count], len(data))


def test_the_test_model_is_summarised(tmp_path: Path) -> None:
    path = tiny_model.write_tiny_model(tmp_path / "m.gguf", context=384, vocabulary_size=700, layers=1, name="Clinical")
    with Model(path) as model:
        summary = summarise(model.gguf)
    matrices = 64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 192
    assert summary == Summary(
        name="Clinical",
        architecture="llama",
        parameters=2 * 700 * 64 + matrices + 3 * 64,
        context=384,
        quantisation="F16",
        vocabulary=700,
        role="chat",
        writes=True,
        chat_template=tiny_model.TEMPLATE,
        reasoning=("<think>", "</think>"),
        licence="Apache-2.0",
    )


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "Q8_0"),
        ({"general__file_type": v.u32(15)}, "Q4_K_M"),
        ({"general__file_type": v.u32(0)}, "F32"),
        ({"general__file_type": v.u32(4)}, "Q8_0"),
    ],
)
def test_the_quantisation_has_the_name_people_know(changes: dict[str, v.Value], name: str) -> None:
    assert parsed(bad_gguf.changed(**changes)).quantisation == name


@pytest.mark.parametrize(
    ("changes", "role"),
    [
        ({}, "chat"),
        ({"llama__pooling_type": v.u32(0)}, "chat"),
        ({"llama__pooling_type": v.u32(1)}, "embedding"),
        ({"llama__pooling_type": v.u32(3)}, "embedding"),
        ({"llama__attention__causal": v.flag(False)}, "embedding"),
        ({"llama__attention__causal": v.flag(True)}, "chat"),
    ],
)
def test_the_role_follows_from_the_pooling(changes: dict[str, v.Value], role: str) -> None:
    assert summarise(parsed(bad_gguf.changed(**changes))).role == role


def test_a_ranking_model_needs_a_newer_box() -> None:
    with pytest.raises(TooNew):
        summarise(parsed(bad_gguf.changed(llama__pooling_type=v.u32(4))))


def test_what_the_file_does_not_say_stays_empty() -> None:
    summary = summarise(parsed(good_gguf.file(good_gguf.header())))
    assert (summary.name, summary.licence, summary.chat_template, summary.reasoning) == ("", "", None, None)
