"""The box: made, served, opened and closed, looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .common import BOX_PASSPHRASE, Json, PassphraseFile, emit, home_of, read_passphrase, say


def init(
    context: typer.Context,
    name: Annotated[str, typer.Option(help="What people call this box.")] = "Lumen Box",
    passphrase_file: PassphraseFile = None,
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file of at least 32 random bytes that may open the box too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a new box in the home."""
    from ..usecases import init as making

    home = home_of(context)
    passphrase = read_passphrase(passphrase_file, BOX_PASSPHRASE, "Passphrase for the new box", confirm=True)
    made = making.create(home, passphrase, name=name, key_file=key_file.read_bytes() if key_file else None)
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
        say("Write the recovery key on paper, keep it away from the box, and clear the screen: it is shown this once.")
        say(f"\nThe box's fingerprint, to be read aloud to publishers:\n{wrapped(made.fingerprint.words)}\n")
        say("Next: lumen-box enrolment export --output box.json")


def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Loopback address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; 0 takes a free one.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return once the gateway answers.")] = False,
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
        return
    from ..usecases.box import Box
    from .gateway import serve as run

    box = Box(home)
    settings = box.settings.gateway
    key = _startup_key(passphrase_file, box)

    def announce(bound: Any, sealed: bool) -> None:
        say(f"Lumen Box serves {bound.url} and {bound.socket}.")
        if sealed:
            say("The box is sealed. Open it with `lumen-box unlock`.")

    address, number = host or settings.host, settings.port if port is None else port
    asyncio.run(run(box, address, number, key, announce))


def _startup_key(passphrase_file: Path | None, box: Any) -> Any:
    """What opens the box without a person: a key of its own, or a passphrase file that was named."""
    import os

    from ..usecases.slots import own_key
    from ..vault.slots import Passphrase

    if passphrase_file is None and (key := own_key(box.settings)) is not None:
        return key
    if passphrase_file is not None or os.environ.get(BOX_PASSPHRASE):
        return Passphrase(read_passphrase(passphrase_file, BOX_PASSPHRASE, ""))
    return None


def unlock(
    context: typer.Context,
    passphrase_file: PassphraseFile = None,
    recovery: Annotated[bool, typer.Option("--recovery", help="Ask for the printed recovery key instead.")] = False,
) -> None:
    """Open the running box, so that it can answer."""
    import base64

    from .door import unlock as open_up
    from .door import use

    async def work(client: Any) -> None:
        if recovery:
            code = read_passphrase(passphrase_file, BOX_PASSPHRASE, "Recovery key")
            await client.post("/api/unlock", {"kind": "recovery", "secret": base64.b64encode(code).decode()})
        else:
            await open_up(client, passphrase_file)

    use(context, work)
    say("The box is open. Models are being loaded: `lumen-box status` shows when they are ready.")


def lock(context: typer.Context) -> None:
    """Close the running box: models are unloaded and keys forgotten."""
    from .door import use

    use(context, lambda client: client.post("/api/lock"))
    say("The box is sealed.")


def stop(context: typer.Context) -> None:
    """Stop the running gateway; answers under way get a moment to finish."""
    from .detach import wait_until_gone
    from .door import use

    use(context, lambda client: client.post("/api/stop"))
    wait_until_gone(home_of(context))
    say("The gateway has stopped.")


def status(context: typer.Context, as_json: Json = False) -> None:
    """Show whether the box would answer, and if not, why."""
    from .door import administer

    record = administer(context, lambda client: client.get("/api/status"), passphrase_file=None, keys=False)
    if record["url"] is None:
        record["state"] = "stopped"
    emit(record, as_json, _status_text(record))


def _status_text(record: dict[str, Any]) -> str:
    lines = [
        f"{record['name']}  {record['state']}",
        f"  version   {record['version']}",
        f"  home      {record['home']}",
        f"  address   {record['url'] or 'no gateway runs'}",
    ]
    for model in record["models"]:
        detail = f", {model['context']} tokens of context" if "context" in model else ""
        lines.append(f"  model     {model.get('id', model['name'])}@{model['version']}  {model['state']}{detail}")
        if "why" in model:
            lines.append(f"            {model['why']}")
    if not record["models"]:
        lines.append("  model     none is active")
    return "\n".join(lines)


def doctor(context: typer.Context, passphrase_file: PassphraseFile = None, as_json: Json = False) -> None:
    """Look over the machine and the box, and say what to do about what is wrong."""
    from .door import administer

    record = administer(context, lambda client: client.get("/api/doctor"), passphrase_file=passphrase_file, keys=False)
    marks = {"good": "ok  ", "warning": "note", "bad": "BAD "}
    lines = []
    for finding in record["findings"]:
        lines.append(f"{marks[finding['level']]}  {finding['subject']:9} {finding['what']}")
        if finding["then"]:
            lines.append(f"      {'':9} {finding['then']}")
    emit(record, as_json, "\n".join(lines))
    if any(finding["level"] == "bad" for finding in record["findings"]):
        raise typer.Exit(1)


def wrapped(words: str) -> str:
    """A fingerprint's words, eight a line, as they are read aloud."""
    split = words.split()
    return "\n".join("  " + " ".join(split[at : at + 8]) for at in range(0, len(split), 8))
