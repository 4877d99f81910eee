"""Whether the process lives, and whether a question asked now would be answered. Open to strangers: one word each."""

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
    """200 ``ready``; else 503 with the reason: ``sealed``, ``no_model``, ``loading`` or ``stopping``."""
    state = "stopping" if the_generations(request).stopping else the_box(request).state()
    return Json({"status": state}, status_code=200 if state == "ready" else 503)
