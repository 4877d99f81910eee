"""API tokens for other systems."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .common import Json, emit, group, say
from .door import administer

token = group("API tokens for other systems.")


@token.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the token is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE",
            help="chat, embeddings, isolated, models or metrics; may be repeated. Else chat and models.",
        ),
    ] = None,
    days: Annotated[int, typer.Option(metavar="N", min=1, max=400, help="How long it lives.")] = 90,
    as_json: Json = False,
) -> None:
    """Make a token. It is shown this once."""
    body = {"name": name, "scopes": scope or ["chat", "models"], "days": days}
    record = administer(context, lambda client: client.post("/api/tokens", body), passphrase_file=None, keys=False)
    emit(record, as_json, record["token"])
    if not as_json:
        say(
            f"It is shown this once. It is good for {' and '.join(record['scopes'])} until {record['expires_at'][:10]}."
        )


@token.command("list")
def listing(context: typer.Context, as_json: Json = False) -> None:
    """List every token, without its secret."""
    record = administer(context, lambda client: client.get("/api/tokens"), passphrase_file=None, keys=False)
    emit(record, as_json, "\n".join(map(_row, record["tokens"])) or "There is no token.")


def _row(entry: dict[str, Any]) -> str:
    state = "revoked" if entry["revoked"] else f"until {entry['expires_at'][:10]}"
    used = f"last used {entry['last_used'][:10]}" if entry["last_used"] else "never used"
    return f"{entry['id']}  {entry['name']:24} {','.join(entry['scopes']):20} {state:18} {used}"


@token.command()
def revoke(
    context: typer.Context,
    identity: Annotated[str, typer.Argument(metavar="ID", help="As `token list` shows it.")],
    as_json: Json = False,
) -> None:
    """End a token now, and whatever runs under it."""
    path = f"/api/tokens/{identity}/revoke"
    record = administer(context, lambda client: client.post(path), passphrase_file=None, keys=False)
    ended = f" Answers that it had under way were ended: {record['ended']}." if record["ended"] else ""
    emit(record, as_json, f"The token {record['name']!r} is revoked.{ended}")
