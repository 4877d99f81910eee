"""What the guide is taught: enough of it, true to the real command line, and apart from what it is measured with."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from lumen_box.cli.main import app
from models.guide import conversations, evaluate, wording

FOLDER = Path(evaluate.__file__).parent
ANSWERS = sorted({topic.answer for topic in (*conversations.handbook(), *conversations.book("chat.txt").topics)})
QUOTED = sorted({quoted for answer in ANSWERS for quoted in re.findall(r"`([^`]+)`", answer)})


def options(command: Any) -> set[str]:
    return {"--help"} | {name for parameter in command.params for name in parameter.opts if name.startswith("-")}


def every_option(command: Any) -> set[str]:
    return options(command).union(*map(every_option, getattr(command, "commands", {}).values()))


def resolved(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and what is left of them."""
    command: Any = get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("quoted", [one for one in QUOTED if "lumen-box" in one])
def test_every_command_in_an_answer_exists(quoted: str) -> None:
    command, rest = resolved(shlex.split(quoted.split("| ")[-1])[1:])
    known = {name for one in (command, get_command(app)) for name in options(one)}
    assert {word for word in rest if word.startswith("--")} <= known
    values = sum(not one.is_flag and one.opts[0] in rest for one in command.params if one.param_type_name == "option")
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    given = [word for word in rest if not word.startswith("--")]
    assert len(given) - values <= sum(100 if one.nargs < 0 else one.nargs for one in arguments)
    assert not hasattr(command, "commands") or not given


@pytest.mark.parametrize("quoted", [one for one in QUOTED if one.startswith("--")])
def test_every_option_in_an_answer_exists(quoted: str) -> None:
    assert quoted in every_option(get_command(app))


def test_a_command_that_does_not_exist_is_noticed() -> None:
    command, rest = resolved(["model", "frobnicate"])
    assert hasattr(command, "commands") and rest == ["frobnicate"]


def test_there_are_enough_questions_in_enough_wordings() -> None:
    topics = conversations.handbook()
    assert len({topic.name for topic in topics}) == len(topics) >= 100
    assert len(conversations.held_handbook()) >= 200
    stream = itertools.islice(conversations.training(1), 30_000)
    asked: dict[str, set[str]] = {}
    for talk in stream:
        for (_, question), (_, answer) in itertools.pairwise(talk):
            asked.setdefault(answer, set()).add(question)
    assert min(len(asked[topic.answer]) for topic in topics) >= 20


def test_no_evaluated_question_shares_eight_words_in_a_row_with_the_training_text() -> None:
    training = json.loads((FOLDER / "training.json").read_text())
    seen = training["tokens"] // 40  # more conversations than it read: few have less than 40 tokens
    questions = [question for name in ("handbook", "unknown") for question in evaluate.sets()[name]]
    assert evaluate.shared_runs(questions, training["recipe"]["seed"], seen) == []


def test_training_never_meets_a_held_wording_or_a_held_word() -> None:
    usual = {frame for frames in wording.FRAMES.values() for frame in frames} - {"{}"}
    held = {frame for frames in wording.HELD_FRAMES.values() for frame in frames} - {"{}"}
    assert not usual & held
    for topic in (*conversations.handbook(), *conversations.book("unknown.txt").topics):
        patterns = [one.pattern for one in topic.wordings if not one.held]
        assert not any("<held " in pattern for pattern in patterns)
        assert not {one.pattern for one in topic.wordings if one.held} & set(patterns)


def test_the_same_seed_gives_the_same_text() -> None:
    first, again, other = (list(itertools.islice(conversations.training(seed), 200)) for seed in (4, 4, 5))
    assert first == again != other


def test_a_line_without_a_known_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_text("@ one\nfor something\n= An answer.\n")
    with pytest.raises(ValueError, match="for something"):
        wording.read(tmp_path / "odd.txt")
