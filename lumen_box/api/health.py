"""Whether the process lives, and whether a question asked now would be answered.

Open to strangers: a word each, and while models are loaded a number.
"""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from .deps import Open, the_box, the_generations
from .responses import Json

router = APIRouter(dependencies=[Depends(Open())])


@router.get("/health/live")
async def live() -> Response:
    return Json({"status": "live"})


@router.get("/health/ready")
async def ready(request: Request) -> Response:
    """200 ``ready``; else 503: ``sealed``, ``no_model``, ``loading`` with its ``percent``, or ``stopping``."""
    box = the_box(request)
    state = "stopping" if the_generations(request).stopping else box.state()
    record: dict[str, object] = {"status": state} | ({"percent": box.progress()} if state == "loading" else {})
    return Json(record, status_code=200 if state == "ready" else 503)
