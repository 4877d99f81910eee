"""Putting the gateway's application together. The same application answers over TCP, the socket, and in-process.

It does not start if any route lacks a decision about who may use it.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Sequence

from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ..errors import LumenError, NotAllowed
from ..schemas.errors import BadRequest, InvalidParameter, NoSuchRoute, WrongMethod
from . import health, metrics_route, openai_chat, openai_completions, openai_embeddings, openai_models
from .deps import May, Open
from .door import OPEN, Door
from .generations import Bounds, Generations
from .handover import Handover
from .identify import Peer, by_uid
from .metrics import GatewayMetrics
from .ports import Box
from .principal import Principal
from .responses import error_response, unexpected

ROUTERS = (
    health.router,
    metrics_route.router,
    openai_models.router,
    openai_chat.router,
    openai_completions.router,
    openai_embeddings.router,
)

# FastAPI would otherwise let environment variables send traces of requests to another host.
SILENT: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


def create_app(box: Box, routers: Sequence[APIRouter] = (), *, hosts: Iterable[str] = ()) -> FastAPI:
    """The application over ``box``; ``routers`` are further groups of routes, ``hosts`` further names over TCP."""
    # No schema and no documentation pages: those would fetch scripts from elsewhere.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False, telemetry=SILENT)
    settings = box.settings
    app.state.box = box
    app.state.metrics = GatewayMetrics()
    app.state.handover = Handover(box.clock)
    app.state.generations = Generations(
        lambda: Bounds(box.models.places(), settings.gateway.queue),
        box.clock,
        app.state.metrics,
        lambda identity: box.tokens.still_valid(identity),
        lambda owner: box.models.forget(owner),
    )
    app.state.in_process = _in_process
    app.state.hand_over = _handing_over(app.state.handover)
    for router in (*ROUTERS, *routers):
        check_routes(router)
        app.include_router(router)
    _handle_errors(app)
    app.add_middleware(Door, box=box, hosts=tuple(hosts))
    return app


def _in_process() -> dict[str, object]:
    """The state of a request made inside this process, by whoever runs it."""
    return {"peer": Peer(os.geteuid(), os.getpid())}


def _handing_over(handover: Handover) -> Callable[[int], Awaitable[str]]:
    async def hand_over(folder: int) -> str:
        return handover.accept(os.dup(folder), by_uid(os.geteuid()))

    return hand_over


def check_routes(router: APIRouter) -> None:
    """Raises ``RuntimeError`` for a route that says neither who may use it nor that it is open."""
    for route in router.routes:
        path = getattr(route, "path", "?")
        calls = list(_calls(route.dependant)) if isinstance(route, APIRoute) else []
        guarded = any(isinstance(call, May) for call in calls)
        opened = any(isinstance(call, Open) for call in calls) and path in OPEN
        if guarded == opened:
            raise RuntimeError(f"the route {path} does not say who may use it")


def _calls(dependant: Dependant) -> Iterable[object]:
    yield dependant.call
    for inner in dependant.dependencies:
        yield from _calls(inner)


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(LumenError)
    async def known(request: Request, error: LumenError) -> Response:
        if isinstance(error, NotAllowed):
            principal: Principal | None = getattr(request.state, "principal", None)
            app.state.box.refused(error, principal.id if principal else "nobody")
        return error_response(error)

    @app.exception_handler(HTTPException)
    async def routing(request: Request, error: HTTPException) -> Response:
        return error_response(_routing(error))

    @app.exception_handler(RequestValidationError)
    async def parameters(request: Request, error: RequestValidationError) -> Response:
        where = error.errors()[0]["loc"] if error.errors() else ()
        name = str(where[-1])[:64] if where else "request"
        return error_response(InvalidParameter(f"The parameter `{name}` is missing or wrong.", param=name))

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        return error_response(unexpected(error))


def _routing(error: HTTPException) -> BadRequest:
    if error.status_code == 404:
        return NoSuchRoute("Nothing is at this address.")
    if error.status_code == 405:
        return WrongMethod("This address does not take this method.")
    return BadRequest(str(error.detail))
