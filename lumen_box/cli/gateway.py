"""Being the gateway: the application over an open box, served until it is told to stop."""

from __future__ import annotations

import contextlib
import logging
import resource
from collections.abc import AsyncIterator, Callable
from typing import Any

from ..api import admin_box, admin_models, admin_tokens, admin_trust
from ..api.app import create_app
from ..api.server import Bound, Gateway, Listen
from ..audit import Event
from ..audit.log import BOX
from ..launcher import kernel
from ..usecases.appliance import Appliance
from ..usecases.box import Box
from ..vault.slots import Unlock

ROUTERS = (admin_box.router, admin_trust.router, admin_models.router, admin_tokens.router)


def application(appliance: Appliance) -> Any:
    """The one application, whatever it is reached through."""
    return create_app(appliance, ROUTERS)


@contextlib.asynccontextmanager
async def closing(box: Box) -> AsyncIterator[Appliance]:
    """The appliance over ``box``; in the end its engines are stopped and the home is let go of."""
    appliance = Appliance(box)
    try:
        yield appliance
    finally:
        await appliance.close()


async def serve(box: Box, host: str, port: int, key: Unlock | None, announce: Callable[[Bound, bool], None]) -> None:
    """Serves ``box`` until it is stopped; without ``key`` it starts sealed. ``announce`` is told where, and whether."""
    _harden()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # when it starts and stops is said in words already
    async with closing(box) as appliance:
        app = application(appliance)
        gateway = Gateway(app, Listen(box.home.socket, box.home.handover, host, port))
        app.state.serving, app.state.stop = True, gateway.stop
        if key is not None:
            appliance.unlock(key, BOX)

        def ready(bound: Bound) -> None:
            app.state.url = bound.url
            box.audit.record(Event.GATEWAY_STARTED, BOX, url=bound.url, sealed=box.sealed)
            if not box.sealed:
                appliance.open_models()
            announce(bound, box.sealed)

        await gateway.run(ready)
        box.audit.record(Event.GATEWAY_STOPPED, BOX)


def _harden() -> None:
    """No core dumps, and nobody of the same user may look into this process: it holds the keys."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kernel.set_undumpable()
