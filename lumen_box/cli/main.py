"""The command ``lumen-box``: every group of commands, and the one place that turns an error into words and a code."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

import typer

from .. import __version__
from ..errors import Interrupted, LumenError, NoSpace, NotAllowed, UsageError
from ..launcher.child import harden
from . import box, demo, keys, models, prompts, publisher, tokens, trust, use
from .common import complain

TRACEBACK = "LUMEN_BOX_TRACEBACK"
MISUSE = cast("type[Exception]", typer.BadParameter.__mro__[1])  # what the parser raises for words that make no command
EPILOG = """\
\b
First steps on a box:
  init, enrolment export, trust pin, model install, model activate, serve, ask
First steps of a publisher, on another machine:
  publisher init, then its root, enrol, add-model and export

\b
Exit codes:
   0  done                   20  not trusted, or revoked   30  no gateway runs
   1  unexpected             21  too old, or expired       31  no active model
   2  not a usable command   22  damaged                   32  busy: try later
  10  no box here yet        23  no space                  33  input too long
  11  held by another        24  not for this box         130  interrupted
  12  sealed, or wrong key   25  needs newer Lumen Box
  13  not allowed            26  a part is missing
  14  no such thing
"""

app = typer.Typer(
    name="lumen-box",
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lumen-box {__version__}")
        raise typer.Exit


@app.callback()
def common(
    home: Annotated[
        Path | None,
        typer.Option(
            "--home", metavar="DIR", readable=False, help="The folder the box lives in; else $LUMEN_BOX_HOME."
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A language model on a server with no way out of the building.

    Every command has a --help of its own, and `lumen-box doctor` says what is wrong.
    """


command: Callable[..., None]
for command in (box.init, box.serve, box.unlock, box.lock, box.stop, box.status, box.doctor):
    app.command()(command)
app.add_typer(trust.trust, name="trust")
app.add_typer(trust.enrolment, name="enrolment")
app.add_typer(models.model, name="model")
app.add_typer(keys.key, name="key")
app.add_typer(tokens.token, name="token")
app.add_typer(prompts.prompt, name="prompt")
for command in (use.ask, use.chat):
    app.command()(command)
app.add_typer(publisher.app, name="publisher")
app.command()(demo.demo)


def main() -> None:
    """Runs the command line and ends the process with the exit code of what happened."""
    harden()
    os.umask(0o077)  # nothing that is written here is for everybody to read
    try:
        code = app(prog_name="lumen-box", standalone_mode=False)
    except LumenError as error:
        _after_the_keys(error)
        _end(error)
    except MISUSE as error:
        _end_misused(error)
    except typer.Abort:  # the end of input where something was asked
        _end(UsageError("Nothing was entered.", kept="Nothing was changed."))
    except BrokenPipeError:
        _close_stdout()
        sys.exit(141)
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        _end(_unexpected(error))
    if code == Interrupted.exit_code:
        stopped = Interrupted(
            "Interrupted.", kept="Nothing is left half done.", then="The same command can be run again."
        )
        _after_the_keys(stopped)
        _end(stopped)
    sys.exit(code)


def _end(error: LumenError) -> NoReturn:
    complain(error)
    sys.exit(error.exit_code)


def _end_misused(error: Any) -> NoReturn:
    """Words that make no command, with the usage of the command that was meant."""
    said = error.format_message()
    if said.startswith("Usage:"):  # a group without a command shows its help
        typer.echo(said, err=True)
        sys.exit(UsageError.exit_code)
    if said.startswith("No such option") and error.option_name == "--home":
        _end(UsageError("--home goes before the command.", then="Write: lumen-box --home DIR COMMAND …"))
    usage = error.ctx.get_usage() if error.ctx else ""
    more = f"`{error.ctx.command_path} --help` says more." if error.ctx else ""
    _end(UsageError(said if said.endswith((".", "?")) else f"{said}.", kept=usage, then=more))


def _after_the_keys(error: LumenError) -> None:
    """The terminal has just shown ^C: what is said about it begins on a line of its own."""
    if isinstance(error, Interrupted) and sys.stderr.isatty():
        typer.echo(err=True)


def _unexpected(error: Exception) -> LumenError:
    """A fault of the machine, or of ours, without a page of code for somebody who cannot read it."""
    if isinstance(error, PermissionError) and error.filename:
        return NotAllowed(f"You may not use {error.filename}.", then="Run the command as the user it belongs to.")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace("The disk is full.", then="Make room, and run the command again.")
    what = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.strerror else repr(error)
    return LumenError(
        f"Something unexpected went wrong: {what}.",
        then=f"Run the command again; with {TRACEBACK}=1 it shows where it happened.",
    )


def _close_stdout() -> None:
    """Whoever read our output has gone; Python must not try to flush to them."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
