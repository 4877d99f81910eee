"""One client for every front end. Errors arrive as the classes that the gateway raised.

    async with connect(socket=home.socket) as client:
        cards = await client.get("/v1/models")

Proxies named in the environment are not used: a token or a prompt goes to the box and nowhere else.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Damaged, GatewayUnreachable, Interrupted
from ..progress import Report, silent
from ..schemas import progress, sse
from ..schemas.address import socket_address
from ..schemas.errors import error_from

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 600.0  # for a whole, unstreamed answer
MAX_ANSWER = 64 * 1024 * 1024  # bytes of a whole answer
LOCAL_URL = "http://localhost"

HandOver = Callable[[int], Awaitable[str]]  # an open folder becomes a ticket


class Client:
    """Requests to one gateway. Use it as a context manager, inside one event loop."""

    def __init__(self, http: httpx.AsyncClient, where: str, hand_over: HandOver | None = None) -> None:
        self._http, self._where, self._hand_over = http, where, hand_over

    async def get(self, path: str) -> Any:
        """The JSON at ``path``."""
        return await self.request("GET", path)

    async def post(self, path: str, body: Any = None) -> Any:
        """The JSON that comes back for ``body``."""
        return await self.request("POST", path, body)

    async def request(self, method: str, path: str, body: Any = None) -> Any:
        """One JSON answer; None for an empty one. Raises what the gateway raised, or ``GatewayUnreachable``."""
        async with self.open(method, path, body) as response:
            data = await _all(response)
        try:
            return json.loads(data) if data else None
        except ValueError as error:
            raise Damaged("The answer of the gateway is not JSON.") from error

    async def text(self, path: str) -> str:
        """The text at ``path``, such as ``/metrics``."""
        async with self.open("GET", path) as response:
            return (await _all(response)).decode("utf-8", "replace")

    async def work(self, path: str, body: Any = None, report: Report = silent) -> Any:
        """Runs long work, shows its progress, and returns its result. Leaving early stops the work."""
        async with self.open("POST", path, body) as response:
            async for line in _lines(response):
                said = progress.parse_line(line)
                if isinstance(said, progress.Result):
                    return said.value
                if said is not None:
                    report(said)
        raise Interrupted(
            "The gateway stopped before it said how this ended.",
            then="Run the command again: it goes on or starts anew.",
        )

    async def events(
        self, path: str, body: Any = None, on_comment: Callable[[str], None] = lambda _: None
    ) -> AsyncGenerator[sse.Event, None]:
        """The events of a stream, as they come; ``on_comment`` hears the comments between them."""
        decoder = sse.Decoder(on_comment=on_comment)
        async with self.open("POST", path, body) as response:
            async for piece in response.aiter_bytes():
                for event in decoder.feed(piece):
                    yield event

    async def hand_over(self, folder: int) -> str:
        """A ticket for an open folder's descriptor, good for one request within a minute. The caller keeps its own."""
        if self._hand_over is None:
            raise GatewayUnreachable(
                "A folder can only be handed over to a gateway on this machine.", then="Run this on the box itself."
            )
        return await self._hand_over(folder)

    @contextlib.asynccontextmanager
    async def open(self, method: str, path: str, body: Any = None) -> AsyncIterator[httpx.Response]:
        """A response whose body is still to be read; an error of the gateway is raised instead."""
        import httpx

        data = None if body is None else _encoded(body)
        headers = {} if data is None else {"content-type": "application/json"}
        try:
            async with self._http.stream(method, path, content=data, headers=headers) as response:
                if response.status_code >= 400:
                    raise error_from(_parsed(await _all(response)), response.status_code)
                yield response
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise GatewayUnreachable(
                f"No gateway answers at {self._where}.", then="Start it with `lumen-box serve`."
            ) from error
        except httpx.TransportError as error:
            raise GatewayUnreachable(
                f"The connection to the gateway broke ({type(error).__name__}).",
                then="See `lumen-box status`, and try again.",
            ) from error

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._http.aclose()


@contextlib.asynccontextmanager
async def connect(
    *,
    socket: Path | None = None,
    handover: Path | None = None,
    url: str | None = None,
    token: str | None = None,
    app: Any = None,
) -> AsyncIterator[Client]:
    """A client of the gateway behind exactly one of: its Unix ``socket``, its ``url``, or the application itself.

    Nothing is sent yet: whether a gateway answers shows with the first request, or with :func:`answers`.
    """
    if sum(x is not None for x in (socket, url, app)) != 1:
        raise ValueError("exactly one of socket, url and app")
    with contextlib.ExitStack() as undo:
        if app is not None:
            from .inprocess import InProcess

            client = Client(_http(transport=InProcess(app), token=token), "this process", app.state.hand_over)
        elif socket is not None:
            client = _over_socket(undo, socket, handover, token)
        else:
            client = Client(_http(base=str(url), token=token), str(url))
        async with client:
            yield client


def _over_socket(undo: contextlib.ExitStack, socket: Path, handover: Path | None, token: str | None) -> Client:
    import httpx

    from .handover import hand_over

    try:
        address = undo.enter_context(socket_address(socket))
    except OSError as error:
        raise GatewayUnreachable(f"No gateway answers at {socket}.", then="Start it with `lumen-box serve`.") from error
    http = _http(transport=httpx.AsyncHTTPTransport(uds=address), token=token)
    return Client(http, str(socket), hand_over(handover) if handover else None)


def _http(*, base: str = LOCAL_URL, transport: Any = None, token: str | None = None) -> httpx.AsyncClient:
    import httpx

    headers: Mapping[str, str] = {"authorization": f"Bearer {token}"} if token else {}
    timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    return httpx.AsyncClient(
        base_url=base, transport=transport, headers=headers, timeout=timeout, trust_env=False, follow_redirects=False
    )


async def answers(client: Client) -> bool:
    """Whether a gateway is there at all."""
    try:
        await client.get("/health/live")
    except GatewayUnreachable:
        return False
    return True


async def _all(response: httpx.Response) -> bytes:
    data = bytearray()
    async for piece in response.aiter_bytes():
        data += piece
        if len(data) > MAX_ANSWER:
            raise Damaged(f"The answer of the gateway is larger than {MAX_ANSWER} bytes.")
    return bytes(data)


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    rest = b""
    async for piece in response.aiter_bytes():
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > progress.MAX_LINE:
            raise Damaged("A line of the gateway's report is too long.")


def _encoded(body: Any) -> bytes:
    """UTF-8 rather than escapes, or text beyond ASCII would need up to three times the room in the gateway's cap."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None
