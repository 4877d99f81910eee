"""``GET /metrics``: on the socket, or with a token that has the scope ``metrics``."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from ..schemas.metrics import Sample
from .authorise import Action
from .deps import may, the_box, the_generations, the_metrics
from .metrics import MEDIA_TYPE

router = APIRouter()


@router.get("/metrics", dependencies=[Depends(may(Action.READ_METRICS))])
async def metrics(request: Request) -> Response:
    generations, box = the_generations(request), the_box(request)
    live, waiting = len(generations.live), generations.waiting
    own = [
        Sample("lumen_generations_running", "Answers that the engine is writing.", live - waiting),
        Sample("lumen_generations_waiting", "Requests waiting for a place in the engine.", waiting),
        Sample("lumen_sealed", "1 while the keys of the box are not available.", int(box.sealed)),
        Sample("lumen_ready", "1 while questions are answered.", int(box.state() == "ready")),
    ]
    return Response(the_metrics(request).text([*own, *box.samples()]), media_type=MEDIA_TYPE)
