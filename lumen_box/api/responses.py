"""Answers that are not streams, and the one place that turns an error into a response."""

from __future__ import annotations

import json
import logging
from typing import Any

from starlette.responses import Response

from ..errors import LumenError
from ..schemas.errors import body_of

log = logging.getLogger(__name__)


def dumps(value: Any) -> bytes:
    """Compact JSON on one line. Text of a model may hold half a surrogate pair, so it is written in ASCII."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


class Json(Response):
    """A JSON body, or bytes that are one already; NaN is a programming error and raises."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return content if isinstance(content, bytes) else dumps(content)


def error_response(error: LumenError) -> Response:
    """OpenAI's shape, the error's status, and when to come back where it is a matter of time."""
    headers: dict[str, str] = {}
    if error.status in (429, 503):
        headers["retry-after"] = str(getattr(error, "retry_after", 5))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return Json(body_of(error), status_code=error.status, headers=headers)


def unexpected(error: BaseException) -> LumenError:
    """What a stranger is told about a fault of ours: nothing but that it is one. The log keeps the trace."""
    log.error("unexpected error", exc_info=error)
    return LumenError(
        "Something went wrong inside the gateway.",
        then="Try again; if it happens again, give the administrator the time, and the log shows what it was.",
    )
