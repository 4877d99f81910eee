"""What routes ask for: the box, the principal who may, the body."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import cast

from starlette.requests import Request

from ..errors import NotFound, Sealed, Unauthenticated
from ..schemas.errors import ModelNotFound
from ..schemas.models import ModelCard
from .authorise import RULES, Action, authorise
from .generations import Generations
from .handover import Handover
from .metrics import GatewayMetrics
from .ports import ActiveModel, Box, EmbeddingModel
from .principal import Principal


class May:
    """A dependency that lets a request through only if its principal may do ``action``, and gives the principal."""

    def __init__(self, action: Action) -> None:
        self.action = action

    async def __call__(self, request: Request) -> Principal:
        principal: Principal | None = getattr(request.state, "principal", None)
        if principal is None:
            raise Unauthenticated("This request has no principal.")
        if not RULES[self.action].owned:  # else only the route can judge: it must first find the thing and its owner
            authorise(principal, self.action)
        return principal


class Open:
    """The dependency of a route that strangers may reach. ``door.OPEN`` must list its path as well."""

    async def __call__(self) -> None:
        return None


def may(action: Action) -> May:
    return May(action)


def the_box(request: Request) -> Box:
    return cast(Box, request.app.state.box)


def the_generations(request: Request) -> Generations:
    return cast(Generations, request.app.state.generations)


def the_metrics(request: Request) -> GatewayMetrics:
    return cast(GatewayMetrics, request.app.state.metrics)


def the_handover(request: Request) -> Handover:
    return cast(Handover, request.app.state.handover)


def unsealed(request: Request) -> Box:
    """The box, if its keys are available; else ``Sealed``."""
    box = the_box(request)
    if box.sealed:
        raise Sealed(
            "The box is sealed: its keys are not available.",
            then="Its operator opens it with `lumen-box unlock`; then try again.",
        )
    return box


async def the_model(request: Request, name: str | None) -> ActiveModel:
    """The active chat model of that name, or the default one."""
    with _known():
        return await unsealed(request).models.get(name)


async def the_embedder(request: Request, name: str | None) -> EmbeddingModel:
    """The active embedding model of that name, or the default one."""
    with _known():
        return await unsealed(request).models.embedder(name)


async def the_card(request: Request, name: str) -> ModelCard:
    """The card of the active model of that name, whatever it is for."""
    with _known():
        return await unsealed(request).models.card(name)


@contextlib.contextmanager
def _known() -> Iterator[None]:
    """An unknown name is told as OpenAI's clients expect it."""
    try:
        yield
    except NotFound as error:
        raise ModelNotFound(error.what, kept=error.kept, then=error.then) from error
