"""The command ``lumen-box``: every group of commands, and the one place that turns an error into words and a code."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from ..errors import LumenError
from . import box, demo, models, publisher, tokens, trust, use

TRACEBACK = "LUMEN_BOX_TRACEBACK"

app = typer.Typer(
    name="lumen-box",
    help="A language model on a server with no way out of the building.",
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
        Path | None, typer.Option("--home", metavar="DIR", help="The box's home; else $LUMEN_BOX_HOME.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A language model on a server with no way out of the building."""


for command in (box.init, box.serve, box.unlock, box.lock, box.stop, box.status, box.doctor):
    app.command()(command)
app.add_typer(trust.trust, name="trust")
app.add_typer(trust.enrolment, name="enrolment")
app.add_typer(models.model, name="model")
app.add_typer(tokens.token, name="token")
for command in (use.ask, use.chat):
    app.command()(command)
app.add_typer(publisher.app, name="publisher")
app.command()(demo.demo)


def main() -> None:
    """Runs the command line and ends the process with the exit code of what happened."""
    os.umask(0o077)  # nothing that is written here is for everybody to read
    try:
        app()
    except LumenError as error:
        _say(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        _close_stdout()
        sys.exit(141)
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        _say(_unexpected(error))
        sys.exit(LumenError.exit_code)


def _unexpected(error: Exception) -> LumenError:
    """A fault of the machine, or of ours, without a page of code for somebody who cannot read it."""
    what = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.strerror else repr(error)
    return LumenError(
        f"Something unexpected went wrong: {what}.",
        then=f"Run the command again; with {TRACEBACK}=1 it shows where it happened.",
    )


def _say(error: LumenError) -> None:
    """What happened, what was left untouched, what to do next: a line each."""
    parts = [part for part in (error.what, error.kept, error.then) if part]
    for index, part in enumerate(parts):
        prefix = "lumen-box: " if index == 0 else "           "
        typer.echo(prefix + part, err=True)


def _close_stdout() -> None:
    """Whoever read our output has gone; Python must not try to flush to them."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
