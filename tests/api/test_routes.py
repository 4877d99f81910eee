"""Who may use which route of the administration: written out by hand, so that a slip in the code is seen."""

from __future__ import annotations

from fastapi.routing import APIRoute

from lumen_box.api.authorise import RULES
from lumen_box.api.deps import May
from lumen_box.cli.gateway import ROUTERS

EVERYBODY = {"administrator", "operator", "auditor", "analyst"}
OPERATORS = {"administrator", "operator"}
WRITERS = {"administrator", "operator", "analyst"}
ADMINISTRATORS = {"administrator"}

TABLE = {
    "GET /api/status": EVERYBODY,
    "GET /api/doctor": OPERATORS,
    "POST /api/unlock": OPERATORS,
    "POST /api/lock": OPERATORS,
    "POST /api/stop": OPERATORS,
    "GET /api/trust": OPERATORS | {"auditor"},
    "POST /api/trust/pin": ADMINISTRATORS,
    "POST /api/enrolment": OPERATORS,
    "GET /api/models": EVERYBODY,
    "POST /api/models/show": EVERYBODY,
    "POST /api/models/offered": OPERATORS,
    "POST /api/models/install": OPERATORS,
    "POST /api/models/activate": OPERATORS,
    "POST /api/models/rollback": OPERATORS,
    "POST /api/models/verify": OPERATORS,
    "POST /api/models/remove": OPERATORS,
    "GET /api/keys": OPERATORS | {"auditor"},
    "POST /api/keys/rotate": ADMINISTRATORS,
    "GET /api/keys/slots": OPERATORS | {"auditor"},
    "POST /api/keys/slots": ADMINISTRATORS,
    "POST /api/keys/slots/{identity}/remove": ADMINISTRATORS,
    "GET /api/prompts": WRITERS,
    "POST /api/prompts/show": WRITERS,
    "POST /api/prompts": OPERATORS,
    "POST /api/prompts/remove": OPERATORS,
    "GET /api/tokens": ADMINISTRATORS,
    "POST /api/tokens": ADMINISTRATORS,
    "POST /api/tokens/{identity}/revoke": ADMINISTRATORS,
}


def test_every_route_of_the_administration_is_for_whom_it_should_be() -> None:
    found = {}
    for router in ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            (action,) = [one.call.action for one in route.dependant.dependencies if isinstance(one.call, May)]
            (method,) = route.methods
            found[f"{method} {route.path}"] = set(RULES[action].roles)
            assert RULES[action].scope is None, "no token administrates"
    assert found == TABLE
