"""Being the gateway: the application over an open box, served until it is told to stop."""

from __future__ import annotations

import contextlib
import logging
import resource
from collections.abc import AsyncIterator, Callable
from typing import Any

from ..api import admin_box, admin_keys, admin_models, admin_prompts, admin_tokens, admin_trust
from ..api.app import create_app
from ..api.server import Bound, Gateway, Listen
from ..audit import Event
from ..audit.log import BOX
from ..usecases.appliance import Appliance
from ..usecases.box import Box
from ..usecases.slots import opens_by_itself
from ..vault.slots import Unlock

ROUTERS = (
    admin_box.router, admin_trust.router, admin_models.router, admin_keys.router, admin_tokens.router,
    admin_prompts.router,
)  # fmt: skip


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


async def serve(
    box: Box, host: str, port: int, key: Unlock | None, by_itself: bool, announce: Callable[[Bound, bool], None]
) -> None:
    """Serves ``box`` until it is stopped.

    It opens ``by_itself`` where that is asked and it can, else with ``key``, and starts sealed without one.
    ``announce`` is told where it serves, and whether it is sealed.
    """
    _take_descriptors()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # when it starts and stops is said in words already
    async with closing(box) as appliance:
        app = application(appliance)
        gateway = Gateway(app, Listen(box.home.socket, box.home.handover, host, port))
        app.state.serving, app.state.stop = True, gateway.stop
        if not (by_itself and opens_by_itself(appliance)) and key is not None:
            appliance.unlock(key, BOX)

        def ready(bound: Bound) -> None:
            app.state.url = bound.url
            box.audit.record(Event.GATEWAY_STARTED, BOX, url=bound.url, sealed=box.sealed)
            if not box.sealed:
                appliance.open_models()
            announce(bound, box.sealed)

        await gateway.run(ready)
        box.audit.record(Event.GATEWAY_STOPPED, BOX)


def _take_descriptors() -> None:
    """As many descriptors as this process may have: every connection takes one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
