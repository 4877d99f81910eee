"""Exit codes are a promise to scripts: each error keeps its number for ever."""

from __future__ import annotations

from lumen_box import errors

PROMISED = {
    "unexpected": 1, "usage": 2, "no_box": 10, "locked": 11, "sealed": 12, "wrong_key": 12, "not_allowed": 13,
    "unauthenticated": 13, "not_found": 14, "untrusted": 20, "stale": 21, "expired": 21, "damaged": 22,
    "no_space": 23, "not_for_this_box": 24, "too_new": 25, "part_missing": 26, "gateway_unreachable": 30,
    "no_model": 31, "busy": 32, "context_length_exceeded": 33, "interrupted": 130,
}  # fmt: skip


def test_every_error_keeps_its_exit_code() -> None:
    tree = {code: kind for code, kind in errors.by_code().items() if kind.__module__ == errors.__name__}
    assert {code: kind.exit_code for code, kind in tree.items()} == PROMISED
    assert {kind.exit_code for kind in errors.by_code().values()} <= set(PROMISED.values())


def test_an_error_says_what_happened_what_was_kept_and_what_to_do() -> None:
    error = errors.Damaged("Part 2 is damaged.", kept="Nothing was changed.", then="Copy the medium again.")
    assert str(error) == "Part 2 is damaged. Nothing was changed. Copy the medium again."
