"""The box: made, served, opened and closed, looked at."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import GatewayUnreachable, UsageError
from ..sizes import size
from .common import BOX_PASSPHRASE, Json, PassphraseFile, emit, fitted, home_of, read_passphrase, say, wrapped
from .keyslots import KEEP, advise, read_key_file

STATES = {
    "stopped": "stopped: `lumen-box serve --detach` starts its gateway",
    "sealed": "sealed: `lumen-box unlock` opens it",
    "no_model": "open, but no model answers: `lumen-box model activate NAME` puts one into service",
    "loading": "loading its models",
}
SEALED = "The box is sealed, and answers nobody yet. Open it with `lumen-box unlock`."


def init(
    context: typer.Context,
    name: Annotated[str, typer.Option(metavar="TEXT", help="What people call this box.")] = "Lumen Box",
    passphrase_file: PassphraseFile = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            readable=False,
            help="32 random bytes or more that may open the box too: at boot, once settings.toml names the file.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a new box in the home."""
    from ..usecases import init as making
    from ..usecases.home import refuse_taken

    home = home_of(context)
    refuse_taken(home)
    key = None if key_file is None else read_key_file(key_file)
    passphrase = read_passphrase(passphrase_file, BOX_PASSPHRASE, "Passphrase for the new box", confirm=True)
    made = making.create(home, passphrase, name=name, key_file=key)
    record = {
        "home": str(home.root),
        "name": made.identity.name,
        "fingerprint": made.fingerprint.hex,
        "words": made.fingerprint.words,
        "recovery_key": made.recovery_code,
    }
    emit(record, as_json, f"Recovery key: {made.recovery_code}")
    if not as_json:
        say(f"\nThe box {made.identity.name!r} is in {home.root}.")
        say(KEEP)
        if key_file:
            advise(home, key_file)
        say(f"\nThe box's fingerprint, to be read aloud to publishers:\n{wrapped(made.fingerprint.words)}\n")
        say("Next: lumen-box enrolment export --output box.json")


def serve(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Loopback address to listen on; else 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", min=0, max=65535, help="0 takes a free one; else 8180.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Go on in the background; return once the gateway answers.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Serve the box: the gateway on its socket and on the loopback."""
    import asyncio

    from .door import require_box

    home = home_of(context)
    require_box(home)
    if detach:
        from .detach import start

        record = start(home, host, port, passphrase_file)
        emit(record, as_json, record["url"])
        if record["sealed"]:
            say(SEALED)
        return
    from ..usecases.box import Box
    from .gateway import serve as run

    box = Box(home)
    settings = box.settings.gateway
    key = _named_passphrase(passphrase_file)

    def announce(bound: Any, sealed: bool) -> None:
        say(f"Lumen Box serves {bound.url} and {bound.socket}.")
        if sealed:
            say(SEALED)

    address, number = host or settings.host, settings.port if port is None else port
    asyncio.run(run(box, address, number, key, passphrase_file is None, announce))
    say("The gateway has stopped.")


def _named_passphrase(passphrase_file: Path | None) -> Any:
    """The passphrase in the file that was named by option or variable, or None."""
    import os

    from ..vault.slots import Passphrase

    if passphrase_file is not None or os.environ.get(BOX_PASSPHRASE):
        return Passphrase(read_passphrase(passphrase_file, BOX_PASSPHRASE, ""))
    return None


def unlock(
    context: typer.Context,
    passphrase_file: PassphraseFile = None,
    recovery: Annotated[bool, typer.Option("--recovery", help="Ask for the printed recovery key instead.")] = False,
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", readable=False, help="Open it with this key file instead.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Open the running box, so that it can answer."""
    import base64

    from .door import unlock as open_up
    from .door import use

    if key_file is not None and (recovery or passphrase_file is not None):
        raise UsageError("--key-file goes without a passphrase and without --recovery.", kept="The box was not opened.")

    async def work(client: Any) -> bool:
        if not (await client.get("/api/status"))["sealed"]:
            return False
        if recovery:  # never from the file that the variable names: that holds the passphrase
            code = read_passphrase(passphrase_file, "", "Recovery key")
            await client.post("/api/unlock", {"kind": "recovery", "secret": base64.b64encode(code).decode()})
        elif key_file is not None:
            key = base64.b64encode(read_key_file(key_file)).decode()
            await client.post("/api/unlock", {"kind": "key-file", "secret": key})
        else:
            await open_up(client, passphrase_file)
        return True

    opened = use(context, work)
    said = "The box is open. Models are being loaded: `lumen-box status` shows when they are ready."
    _tell({"sealed": False, "opened": opened}, as_json, said if opened else "The box is open already.")


def _tell(record: dict[str, Any], as_json: bool, sentence: str) -> None:
    """What was done: for a person on stderr, since it is not data."""
    if as_json:
        emit(record, True, "")
    else:
        say(sentence)


def lock(context: typer.Context, as_json: Json = False) -> None:
    """Close the running box: models are unloaded and keys forgotten."""
    from .door import use

    try:
        use(context, lambda client: client.post("/api/lock"))
    except GatewayUnreachable as error:
        raise GatewayUnreachable(error.what, then="Nothing holds its keys: it is sealed.") from None
    _tell({"sealed": True}, as_json, "The box is sealed: its models are unloaded.")


def stop(context: typer.Context, as_json: Json = False) -> None:
    """Stop the gateway, once the answers under way are finished."""
    from .detach import wait_until_gone
    from .door import use

    try:
        use(context, lambda client: client.post("/api/stop"))
    except GatewayUnreachable as error:
        raise GatewayUnreachable(error.what, then="There is nothing to stop.") from None
    wait_until_gone(home_of(context))
    _tell({"stopped": True}, as_json, "The gateway has stopped.")


def status(context: typer.Context, as_json: Json = False) -> None:
    """Show whether the box would answer, and if not, why."""
    from .door import administer

    record = administer(context, lambda client: client.get("/api/status"), passphrase_file=None, keys=False)
    if record["url"] is None:
        record["state"] = "stopped"
    emit(record, as_json, _status_text(record))


def _status_text(record: dict[str, Any]) -> str:
    lines = [
        f"{record['name']}  {STATES.get(record['state'], record['state'])}",
        f"  version   {record['version']}",
        f"  home      {record['home']}",
        f"  address   {record['url'] or 'none'}",
    ]
    for model in record["models"]:
        detail = f" {model['percent']} %" if "percent" in model else ""
        role = " (embedding)" if model["role"] == "embedding" else ""
        lines.append(f"  model     {model.get('id', model['name'])}@{model['version']}{role}  {model['state']}{detail}")
        if "context" in model:
            lines.append(f"            {_laid_out(model)}")
        if "why" in model:
            lines.append(f"            {model['why']}")
    if not record["models"]:
        lines.append("  model     none is active")
    return "\n".join(lines)


def _laid_out(model: dict[str, Any]) -> str:
    """How a loaded model lies in memory."""
    parts = [
        f"{model['parallel']} × {model['context']} tokens of context",
        f"weights {size(model['weights_bytes'])}",
        f"KV cache {size(model['kv_bytes'])} in {model['kv_type']}",
        f"up to {size(model['cache_bytes'])} for resting conversations",
        f"since {model['since']}",
    ]
    return ", ".join(parts)


def doctor(context: typer.Context, passphrase_file: PassphraseFile = None, as_json: Json = False) -> None:
    """Look over machine and box, and say what to do."""
    from .door import administer

    keys = passphrase_file is not None  # without them most of it can be looked at, and nobody need be there
    record = administer(context, lambda client: client.get("/api/doctor"), passphrase_file=passphrase_file, keys=keys)
    marks = {"good": "ok  ", "warning": "note", "bad": "BAD "}
    lines = []
    for finding in record["findings"]:
        lines.append(f"{marks[finding['level']]}  {finding['subject']:9} {finding['what']}")
        if finding["then"]:
            lines.append(f"      {'':9} {finding['then']}")
    text = "\n".join(lines)
    emit(record, as_json, fitted(text, 16) if sys.stdout.isatty() else text)
    if any(finding["level"] == "bad" for finding in record["findings"]):
        raise typer.Exit(1)
