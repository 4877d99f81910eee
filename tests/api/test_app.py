"""The application does not start with a route that nobody guards."""

from __future__ import annotations

from typing import Annotated

import pytest
from fastapi import APIRouter, Depends

from lumen_box.api.app import ROUTERS, check_routes, create_app
from lumen_box.api.authorise import Action
from lumen_box.api.deps import Open, may
from lumen_box.api.principal import Principal

from .fakes import FakeBox
from .http import get


def unguarded() -> APIRouter:
    router = APIRouter()

    @router.get("/api/secret")
    async def secret() -> dict[str, str]:
        return {"secret": "yes"}

    return router


def opened_elsewhere() -> APIRouter:
    router = APIRouter(dependencies=[Depends(Open())])

    @router.get("/api/open")
    async def open_to_all() -> None: ...

    return router


def nested() -> APIRouter:
    router = APIRouter()
    router.include_router(unguarded(), prefix="/inner")
    return router


@pytest.mark.parametrize("make", [unguarded, opened_elsewhere, nested])
def test_a_route_that_does_not_say_who_may_use_it_is_refused(make: object) -> None:
    with pytest.raises(RuntimeError, match="does not say who may use it"):
        create_app(FakeBox(), [make()])  # type: ignore[operator]


def test_a_guarded_route_is_served_and_gets_its_principal() -> None:
    router = APIRouter()

    @router.get("/api/me")
    async def me(principal: Annotated[Principal, Depends(may(Action.READ_STATUS))]) -> dict[str, str]:
        return {"kind": principal.kind}

    from .http import asking, run

    async def once() -> object:
        async with asking(FakeBox(), router) as client:
            return (await client.get("/api/me")).json()

    assert run(once()) == {"kind": "local"}


def test_every_route_of_the_gateway_is_checked() -> None:
    for router in ROUTERS:
        assert router.routes
        check_routes(router)


def test_metrics_count_answers_and_show_the_engines() -> None:
    import re

    from .http import USER, asking, run

    box = FakeBox()

    async def page() -> str:
        async with asking(box) as client:
            for _ in range(2):
                await client.post("/v1/chat/completions", json={"messages": [USER]})
            await client.post("/v1/chat/completions", json={"messages": [USER], "tools": []})
            return (await client.get("/metrics")).text

    text = run(page())
    lines = text.splitlines()
    assert 'lumen_generations_total{model="clinical",outcome="stop"} 2' in lines
    assert 'lumen_completion_tokens_total{model="clinical"} 4' in lines
    assert 'lumen_prompt_tokens_total{model="clinical"} 10' in lines
    assert 'lumen_first_token_seconds_bucket{le="+Inf"} 2' in lines and "lumen_first_token_seconds_count 2" in lines
    assert "lumen_generations_waiting 0" in lines and "lumen_sealed 0" in lines and "lumen_ready 1" in lines
    assert 'lumen_engine_restarts_total{model="a\\"b\\n"} 2' in lines
    named = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    for line in lines:
        assert line.startswith("# ") or re.fullmatch(r'[a-z_]+(\{([a-z]+="[^\n]*")*\})? [-+.e0-9]+', line), line
        assert line.startswith("# ") or re.sub(r"_(bucket|sum|count)$", "", re.split("[{ ]", line)[0]) in named
    assert get(box, "/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")


def test_no_environment_makes_the_gateway_send_traces_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi import FastAPI
    from opentelemetry import trace

    class Provider(trace.NoOpTracerProvider):
        """A tracer that somebody configured for the whole process."""

    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.invalid")
    monkeypatch.setattr(trace, "get_tracer_provider", Provider)
    assert FastAPI()._telemetry["auto_configure"] and FastAPI()._native_telemetry.enabled()
    app = create_app(FakeBox())
    assert not app._telemetry["auto_configure"] and not app._native_telemetry.enabled()
