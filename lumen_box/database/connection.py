"""Opens the database with the settings that make a commit durable, and brings its tables up to date."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sqlite_utils import Database

from ..atomic import PRIVATE_FILE
from ..errors import Damaged, NoSpace
from ..paths import open_regular
from .migrations import migrations

_DAMAGE = ("malformed", "not a database", "disk image")


def open_database(path: Path) -> Database:
    """The open database. Raises ``Damaged`` if the file is not one, ``NoSpace`` if there is no room for it.

    ``synchronous=FULL`` because a catalogue entry must not vanish after the model's key was wrapped.
    """
    _make_private(path)
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
    try:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")
        database = Database(connection)
        migrations.apply(database)
    except sqlite3.Error as error:
        connection.close()
        raise translate(error) from error
    return database


def _make_private(path: Path) -> None:
    """SQLite would make the file readable for others, and follow a link."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE))
        return
    os.close(open_regular(path))


@contextlib.contextmanager
def in_our_words() -> Iterator[None]:
    """Turns SQLite's errors into ours, where a person can do something about them."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error) from error


def translate(error: sqlite3.Error) -> Exception:
    """The same failure as one of our errors, where it is one that a person can do something about."""
    if "full" in str(error):
        return NoSpace(
            "The disk is full: the database could not be written.",
            kept="What was there before is unchanged.",
            then="Free some space and run the same command again.",
        )
    if any(word in str(error) for word in _DAMAGE):
        return Damaged(
            "The database of this box is damaged.",
            kept="Models and keys are in other files and were left as they are.",
            then="Move box.db away and start again: the catalogue is rebuilt; tokens must be made anew.",
        )
    return error
