"""API tokens: shown once, kept as a hash, refused the moment they are expired or revoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lumen_box.accounts.tokens import Tokens
from lumen_box.clock import Clock
from lumen_box.database import open_database
from lumen_box.errors import NotFound, Unauthenticated, UsageError

DAY = timedelta(days=1)


class Time:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def tokens(tmp_path: Path, time: Time) -> Tokens:
    return Tokens(open_database(tmp_path / "box.db"), Clock(now=lambda: time.now))


def test_a_token_opens_for_as_long_as_it_lives(tokens: Tokens, time: Time) -> None:
    token, text = tokens.create("laboratory", ["chat"], "local:0", DAY)
    assert tokens.authenticate(text).id == token.id
    assert tokens.authenticate(text).last_used == "2026-11-23T09:00:00Z"
    time.now += DAY - timedelta(seconds=1)
    assert tokens.still_valid(token.id)
    time.now += timedelta(seconds=1)
    assert not tokens.still_valid(token.id)
    with pytest.raises(Unauthenticated):
        tokens.authenticate(text)


def test_a_revoked_token_never_opens_again(tokens: Tokens) -> None:
    token, text = tokens.create("laboratory", ["chat"], "local:0", DAY)
    assert tokens.revoke(token.id).revoked
    assert not tokens.still_valid(token.id)
    with pytest.raises(Unauthenticated):
        tokens.authenticate(text)
    with pytest.raises(NotFound):
        tokens.revoke("0123456789abcdef")


def test_what_is_not_the_token_does_not_open(tokens: Tokens) -> None:
    _, text = tokens.create("laboratory", ["chat"], "local:0", DAY)
    for wrong in [
        "",
        "lb_",
        text[:-1],
        text + "A",
        text.upper(),
        text.replace("lb_", ""),
        "x" * 1_000_000,
        text + "\n",
    ]:
        with pytest.raises(Unauthenticated):
            tokens.authenticate(wrong)


def test_the_secret_is_nowhere_in_the_database(tokens: Tokens, tmp_path: Path) -> None:
    token, text = tokens.create("laboratory", ["chat"], "local:0", DAY)
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert token.id.encode() in files  # the search finds what is there
    assert text.rsplit("_", 1)[1].encode() not in files
    assert text.encode() not in files


@pytest.mark.parametrize(
    ("name", "scopes", "life"),
    [("x", [], DAY), ("x", ["root"], DAY), ("", ["chat"], DAY), ("a\nb", ["chat"], DAY), ("x", ["chat"], -DAY),
     ("x", ["chat"], timedelta(days=4000))],
)  # fmt: skip
def test_a_senseless_token_is_refused(tokens: Tokens, name: str, scopes: list[str], life: timedelta) -> None:
    with pytest.raises(UsageError):
        tokens.create(name, scopes, "local:0", life)
    assert tokens.listing() == []


def test_the_database_is_private(tmp_path: Path) -> None:
    open_database(tmp_path / "box.db").conn.execute("create table t (x)")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
