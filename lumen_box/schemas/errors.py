"""How an error crosses the wire: OpenAI's shape, with the parts of a Lumen Box error beside it.

    {"error": {"message": …, "type": …, "param": …, "code": …, "what": …, "kept": …, "then": …}}

``message`` stands alone for clients that know only OpenAI's members. ``code`` names the class, so that our own
client raises what the gateway raised.

The leaves of the error tree that only a request can meet are here:

    UsageError
    ├─ InvalidParameter       400   a member of the body has a wrong type or value
    ├─ UnsupportedParameter   400   a member of the body that this box does not know
    ├─ MalformedBody          400   no JSON, too deep, a key twice
    ├─ BodyTooLarge           413
    ├─ WrongContentType       415
    ├─ TooSlow                408   the body did not arrive in time
    ├─ NoSuchRoute            404   nothing is at this path
    ├─ WrongMethod            405
    └─ WrongHost              421   the Host header names another machine
    NotFound
    └─ ModelNotFound          404
    Busy
    ├─ QueueFull              429   too many are waiting already
    └─ Stopping               503   the gateway is shutting down
    NotAllowed
    └─ Withdrawn              403   the access was ended while the answer ran
"""

from __future__ import annotations

from typing import Any

from ..errors import Busy, LumenError, NotAllowed, NotFound, UsageError, by_code


class BadRequest(UsageError):
    """A request that is wrong in itself; ``param`` is the member of the body, where it is one."""

    def __init__(self, what: str, *, kept: str = "", then: str = "", param: str | None = None) -> None:
        super().__init__(what, kept=kept, then=then)
        self.param = param


class InvalidParameter(BadRequest):
    code = "invalid_parameter"


class UnsupportedParameter(BadRequest):
    code = "unsupported_parameter"


class MalformedBody(BadRequest):
    code = "malformed_body"


class BodyTooLarge(BadRequest):
    status, code = 413, "body_too_large"


class WrongContentType(BadRequest):
    status, code = 415, "wrong_content_type"


class TooSlow(BadRequest):
    status, code = 408, "too_slow"


class NoSuchRoute(BadRequest):
    status, code = 404, "no_such_route"


class WrongMethod(BadRequest):
    status, code = 405, "wrong_method"


class WrongHost(BadRequest):
    status, code = 421, "wrong_host"


class ModelNotFound(NotFound):
    code = "model_not_found"
    param = "model"


class QueueFull(Busy):
    """``retry_after``: a guess, in seconds, at when there is room again."""

    code = "queue_full"

    def __init__(self, what: str, *, kept: str = "", then: str = "", retry_after: int = 5) -> None:
        super().__init__(what, kept=kept, then=then)
        self.retry_after = retry_after


class Stopping(Busy):
    status, code = 503, "stopping"


class Withdrawn(NotAllowed):
    code = "access_withdrawn"


_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def body_of(error: LumenError) -> dict[str, Any]:
    """The JSON body that says ``error``."""
    kind = _TYPES.get(error.status) or ("invalid_request_error" if error.status < 500 else "server_error")
    return {
        "error": {
            "message": str(error),
            "type": kind,
            "param": getattr(error, "param", None) or ("messages" if error.code == "context_length_exceeded" else None),
            "code": error.code,
            "what": error.what,
            "kept": error.kept,
            "then": error.then,
        }
    }


def error_from(body: Any, status: int = 500) -> LumenError:
    """The error that ``body`` says; a ``LumenError`` with what words there are if it is of no known form."""
    members = body.get("error") if isinstance(body, dict) else None
    if not isinstance(members, dict):
        return LumenError(f"The gateway answered {status} without saying why.")
    kind = by_code().get(str(members.get("code")), LumenError)
    what = str(members.get("what") or members.get("message") or f"The gateway answered {status}.")
    error = kind(what, kept=str(members.get("kept") or ""), then=str(members.get("then") or ""))
    if isinstance(error, BadRequest) and members.get("param"):
        error.param = str(members["param"])
    return error
