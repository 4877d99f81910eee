"""A gateway that is reached by its address and a token, by whoever may not open the home of the box.

A token never crosses a network in clear: plain HTTP is for this machine alone, everything else takes https.
"""

from __future__ import annotations

import contextlib
import ipaddress
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import SplitResult, urlsplit

import typer

from ..errors import NotFound, UsageError
from .common import home_of
from .door import over_socket, require_box

if TYPE_CHECKING:
    from ..client.transport import Client

MAX_TOKEN = 512  # characters
Url = Annotated[str | None, typer.Option(metavar="URL", help="Ask the gateway at this address; else that of the home.")]
TokenFile = Annotated[
    Path | None, typer.Option(metavar="FILE", readable=False, help="For --url: file with an API token.")
]
Reach = Callable[[], contextlib.AbstractAsyncContextManager["Client"]]  # a client, for as long as it is needed


def reaching(context: typer.Context, url: str | None, token_file: Path | None) -> Reach:
    """How to come to the gateway that is meant: at ``url`` with the token in a file, or else that of the home.

    Raises ``UsageError`` for an address or a token file that will not do, ``NoBox`` where there is no home.
    """
    if (url is None) != (token_file is None):
        raise UsageError("--url and --token-file go together.", kept="Nothing was asked.")
    if url is None or token_file is None:
        home = home_of(context)
        require_box(home)
        return lambda: over_socket(home)
    address, token = _address(url), _token(token_file)

    def at_address() -> contextlib.AbstractAsyncContextManager[Client]:
        from ..client.transport import connect

        return connect(url=address, token=token)

    return at_address


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        parts, usable = SplitResult("", "", "", "", ""), False
    if not usable or parts.path.strip("/") or parts.query or parts.username is not None:
        raise UsageError(
            f"{url!r} is not the address of a gateway.",
            kept="Nothing was asked.",
            then="Write it as `lumen-box status` shows it, such as http://127.0.0.1:8180.",
        )
    if parts.scheme == "http" and not _this_machine(parts):
        raise UsageError(
            f"{url} is another machine: over plain HTTP the token and the question could be read on the way.",
            kept="Nothing was asked.",
            then="Use https, or forward a port of this machine: ssh -L 8180:127.0.0.1:8180 BOX.",
        )
    return url


def _this_machine(parts: SplitResult) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    return parts.hostname == "localhost"


def _token(path: Path) -> str:
    try:
        mode, data = path.stat().st_mode, path.read_bytes()[: MAX_TOKEN + 1]
    except FileNotFoundError:
        raise NotFound(f"There is no token file {path}.", kept="Nothing was asked.") from None
    except OSError as error:
        raise UsageError(
            f"The token file {path} cannot be read: {error.strerror}.", kept="Nothing was asked."
        ) from error
    text = data.decode("ascii", "replace").strip()
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise UsageError(f"Everybody on this machine can read {path}.", then=f"Run `chmod 600 {path}` and try again.")
    if not 0 < len(text) <= MAX_TOKEN or not text.isascii() or not text.isprintable() or " " in text:
        raise UsageError(
            f"{path} does not hold a token.",
            kept="Nothing was asked.",
            then="An administrator of the box makes one: (umask 077; lumen-box token create NAME > FILE)",
        )
    return text
