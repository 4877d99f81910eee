"""The harness of the benchmarks: what it runs in which order, and what it says about it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.harness import Aim, Side, compare


def counting(log: Path, name: str, seconds: list[float]) -> Side:
    """Reports the next of ``seconds`` each time, and writes down that it ran."""
    code = (
        "import json, pathlib, sys; log = pathlib.Path(sys.argv[1]); ran = log.read_text() if log.exists() else '';"
        "log.write_text(ran + sys.argv[2]); taken = json.loads(sys.argv[3]);"
        "print('starting'); print(json.dumps({'seconds': taken[ran.count(sys.argv[2])]}))"
    )
    return Side(name, (sys.executable, "-c", code, str(log), name, json.dumps(seconds)), reports=True)


def test_sides_take_turns_and_only_numbers_of_one_round_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The machine is ten times slower in the second round, for both: the ratio does not notice."""
    log = tmp_path / "log"
    sides = [counting(log, "A", [99, 3, 30, 4]), counting(log, "B", [99, 2, 20, 2])]
    compare("Three", sides, [Aim(most=1.4), Aim(plus=True, most=5.0)], rounds=3)
    assert log.read_text() == "ABABABAB", "one round unmeasured, then three"
    said = capsys.readouterr().out
    assert said.count(sys.executable.removeprefix(str(Path.cwd()) + "/")) >= 2, "both command lines"
    assert "A            median 4.000 s  (3.000 to 30.000)" in said
    assert "A against B: 1.50 x  (1.50 x to 2.00 x); to reach at most 1.40 x: MISSED" in said
    assert "A against B: +2.000 s  (+1.000 s to +10.000 s); to reach at most +5.000 s: met" in said


def test_the_first_side_itself_is_held_against_a_target_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [counting(tmp_path / "log", "A", [9, 1, 2, 3]), counting(tmp_path / "log", "B", [9, 9, 9, 9])]
    compare("One", sides, [Aim(most=1.5, alone=True)], rounds=3)
    said = capsys.readouterr().out
    assert "A            median 2.000 s  (1.000 to 3.000); to reach at most 1.5 s: MISSED" in said
    assert "B            median 9.000 s  (9.000 to 9.000)\n" in said and "against" not in said


@pytest.mark.parametrize(("least", "verdict"), [(2.0, "met"), (2.1, "MISSED")])
def test_a_target_may_be_a_least(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], least: float, verdict: str
) -> None:
    sides = [counting(tmp_path / "log", "A", [4]), counting(tmp_path / "log", "B", [2])]
    compare("Two", sides, [Aim(least=least)], rounds=1, rehearse=False)
    assert (
        f"A against B: 2.00 x  (2.00 x to 2.00 x); to reach at least {least:.2f} x: {verdict}"
        in capsys.readouterr().out
    )


def test_a_peer_that_measured_nothing_is_infinitely_far_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [counting(tmp_path / "log", "A", [4]), counting(tmp_path / "log", "B", [0])]
    compare("Two", sides, [Aim(most=2.0)], rounds=1, rehearse=False)
    assert "A against B: inf x" in capsys.readouterr().out


def test_a_side_that_fails_ends_the_benchmark_with_what_it_said() -> None:
    with pytest.raises(SystemExit, match=r"ended with 3:\nout of order"):
        compare("None", [Side("A", (sys.executable, "-c", "print('out of order'); exit(3)"))], [Aim()], rounds=1)
