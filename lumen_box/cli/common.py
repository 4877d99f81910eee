"""What every command shares: secrets from files, progress on stderr, data on stdout.

No secret comes by flag or environment: a flag or a variable names a *file*. A prompt appears only on a terminal.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ..errors import LumenError, NoBox, Sealed, UsageError
from ..paths import Home
from ..progress import Advance, Event, Note, Report, Step
from ..sizes import size

HOME_VARIABLE = "LUMEN_BOX_HOME"
BOX_PASSPHRASE = "LUMEN_BOX_PASSPHRASE_FILE"  # noqa: S105 - the name of a variable that names a file
SHORTEST_PASSPHRASE, LONGEST_PASSPHRASE = 8, 1024  # bytes
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but line feed and tab
QUIET_SECONDS = 1.0  # what takes less shows nothing

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", metavar="FILE", readable=False, help=f"File with the passphrase; else ${BOX_PASSPHRASE}."
    ),
]


def home_of(context: typer.Context) -> Home:
    """The home named by ``--home`` or ``LUMEN_BOX_HOME``."""
    named = context.find_root().params.get("home") or os.environ.get(HOME_VARIABLE)
    if not named:
        raise NoBox(
            "No box was named: a box lives in a folder, its home.",
            then=f"Set {HOME_VARIABLE} to that folder, or write: lumen-box --home DIR COMMAND …",
        )
    return Home(Path(named).expanduser().absolute())


def read_passphrase(
    path: Path | None, env_var: str, prompt: str, confirm: bool = False, option: str = "--passphrase-file"
) -> bytes:
    """The passphrase, without its line end, from the file named by option or variable, else from the terminal.

    Args:
        env_var: the variable that may name the file; empty where none may.
        confirm: it is a new one: it is asked for twice, and may not be too short.
        option: what names ``path`` on the command line.

    Raises ``Sealed`` where there is none of these, ``UsageError`` for an empty, overlong or open file.
    """
    named = path or (Path(os.environ[env_var]) if os.environ.get(env_var) else None)
    if named is not None:
        return _from_file(named, confirm)
    if sys.stdin.isatty() and sys.stderr.isatty():
        return _from_terminal(prompt, confirm)
    raise Sealed(
        "This needs a passphrase, and there is no terminal to ask on."
        if env_var
        else f"This asks for the {prompt.lower()}, and there is no terminal to ask on.",
        kept="Nothing was changed.",
        then=f"Name a file that holds it with {option}{' or ' if env_var else ''}{env_var}.",
    )


def _from_file(path: Path, new: bool) -> bytes:
    try:
        if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
            raise UsageError(
                f"Everybody on this machine can read {path}.", then=f"Run `chmod 600 {path}` and try again."
            )
        secret = path.read_bytes()[: LONGEST_PASSPHRASE + 2]
    except FileNotFoundError:
        raise UsageError(
            f"There is no passphrase file {path}.",
            kept="Nothing was changed.",
            then=f"Write the passphrase into it, and run `chmod 600 {path}`; without such a file it is asked for.",
        ) from None
    except OSError as error:
        raise UsageError(
            f"The passphrase file {path} cannot be read: {error.strerror}.", kept="Nothing was changed."
        ) from error
    return _sound(secret.removesuffix(b"\n").removesuffix(b"\r"), f"The passphrase in {path}", new)


def _from_terminal(prompt: str, confirm: bool) -> bytes:
    import getpass

    secret = _sound(getpass.getpass(f"{prompt}: ").encode(), "The passphrase", confirm)
    if confirm and getpass.getpass("Once more: ").encode() != secret:
        raise UsageError("The two passphrases differ.", kept="Nothing was changed.", then="Try again.")
    return secret


def _sound(secret: bytes, what: str, new: bool) -> bytes:
    if not 0 < len(secret) <= LONGEST_PASSPHRASE:
        raise UsageError(f"{what} is empty or longer than {LONGEST_PASSPHRASE} bytes.", kept="Nothing was changed.")
    if new and len(secret) < SHORTEST_PASSPHRASE:
        raise UsageError(
            f"{what} is too short: it needs {SHORTEST_PASSPHRASE} characters or more.",
            kept="Nothing was changed.",
            then="Five or six words drawn at random make a good one.",
        )
    return secret


def confirm(question: str) -> None:
    """Before something is removed: ``UsageError`` unless the person at the terminal agrees."""
    if not sys.stdin.isatty():
        raise UsageError(
            "There is no terminal to confirm this on.", kept="Nothing was removed.", then="Say so with --yes."
        )
    if not typer.confirm(question, err=True):
        raise UsageError("It was not confirmed.", kept="Nothing was removed.")


def group(words: str) -> typer.Typer:
    """A group of commands. Without Rich: its help alone would take longer than the whole command may."""
    return typer.Typer(help=words, no_args_is_help=True, rich_markup_mode=None)


def emit(value: object, as_json: bool, human: str) -> None:
    """Prints the result of a command on stdout: one JSON object or text for a person."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False) if as_json else plain(human))


def plain(text: str) -> str:
    """``text`` without what would steer a terminal: models, cards and workers must not write escape sequences."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def wrapped(words: str) -> str:
    """A fingerprint's words, eight a line, as they are read aloud."""
    split = words.split()
    return "\n".join("  " + " ".join(split[at : at + 8]) for at in range(0, len(split), 8))


def say(text: str, hanging: int = 0) -> None:
    """A sentence for the person at the terminal, on stderr; there its lines break between words.

    Lines that begin with a blank are left whole (they may be commands to copy), unless ``hanging`` says how far the
    further lines of one that is too long are indented.
    """
    text = plain(text)
    typer.echo(fitted(text, hanging) if sys.stderr.isatty() else text, err=True)


def fitted(text: str, hanging: int) -> str:
    """``text`` with its lines broken between words, as wide as the terminal."""
    import shutil
    import textwrap

    width = max(shutil.get_terminal_size().columns, 40)
    broken = textwrap.TextWrapper(
        width, subsequent_indent=" " * hanging, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )
    lines = text.split("\n")
    return "\n".join(line if line.startswith(" ") and not hanging else broken.fill(line) or line for line in lines)


def complain(error: LumenError) -> None:
    """What happened, what was left untouched, what to do next: a line each, on stderr."""
    parts = [part for part in (error.what, error.kept, error.then) if part]
    for index, part in enumerate(parts):
        say(f"{'lumen-box:' if index == 0 else '':10} {part}", hanging=11)


@contextlib.contextmanager
def reporting() -> Iterator[Report]:
    """Draws progress on stderr for anything that takes over a second: one line, redrawn on a terminal."""
    bar = _Bar()
    try:
        yield bar.show
    finally:
        bar.close()


class _Bar:
    def __init__(self) -> None:
        self._tty = sys.stderr.isatty()
        self._began = self._drawn = time.monotonic()
        self._title, self._since, self._line = "", time.monotonic(), ""

    def show(self, event: Event) -> None:
        match event:
            case Note(text):
                self._clear()
                say(text)
            case Step(title):
                self._title, self._since = title, time.monotonic()
                self._draw(title)
            case Advance(done, total, unit):
                self._draw(f"{self._title}  {self._far(done, total, unit)}")

    def _far(self, done: int, total: int, unit: str) -> str:
        part = done / total if total else 1.0
        spent = time.monotonic() - self._since
        left = f"  {_short(spent * (1 - part) / part)} left" if 0.02 < part < 1 and spent > QUIET_SECONDS else ""
        amount = f"{size(done)} of {size(total)}" if unit == "bytes" else f"{done} of {total} {unit}"
        return f"{part:4.0%}  {amount}{left}"

    def _draw(self, line: str) -> None:
        now = time.monotonic()
        pause = 0.1 if self._tty else 10.0
        if now - self._began < QUIET_SECONDS or (self._line and now - self._drawn < pause):
            return
        self._drawn, self._line = now, line
        if self._tty:
            sys.stderr.write(f"\r\x1b[K{line[:100]}")
        else:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    def _clear(self) -> None:
        if self._tty and self._line:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        self._line = ""

    def close(self) -> None:
        self._clear()


def _short(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
