"""Strangers, holders of a token and other sites' pages, against a gateway that serves."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from lumen_box.api.app import ROUTERS as OPENAI
from lumen_box.api.door import OPEN
from lumen_box.cli.gateway import ROUTERS as ADMINISTRATION
from lumen_box.config import GatewaySettings

from .serving import CHAT, USER, Serving, events, until

ENDLESS = {"messages": [USER], "stream": True, "ignore_eos": True}
GOOD = {  # what a token may do, and by which scope
    "/v1/chat/completions": "chat",
    "/v1/completions": "chat",
    "/v1/models": "models",
    "/v1/models/{name:path}": "models",
    "/metrics": "metrics",
}


@pytest.fixture(scope="module", autouse=True)
def no_fault_of_ours(box: Serving) -> Iterator[None]:
    """Whatever was tried in this module: nothing was unexpected, and the box answers as before."""
    yield
    assert box.answers()
    log = box.scene.home.log.read_text()
    assert "Traceback" not in log, log
    assert len(log) < 4096, "strangers do not fill the log"


def routes() -> list[tuple[str, str]]:
    found = [route for router in (*OPENAI, *ADMINISTRATION) for route in router.routes if isinstance(route, APIRoute)]
    return sorted((method, route.path) for route in found for method in route.methods or ())


def ask(client: httpx.Client, method: str, path: str, body: Any = CHAT) -> httpx.Response:
    concrete = path.replace("{name:path}", "clinical").replace("{identity}", "0" * 16)
    return client.request(method, concrete, json=body if method == "POST" else None)


def test_every_route_is_known_to_this_test() -> None:
    paths = {path for _, path in routes()}
    assert set(GOOD) | OPEN < paths
    assert len(paths) > 20


def test_without_a_token_nothing_but_health_answers_over_tcp(box: Serving) -> None:
    with httpx.Client(base_url=box.url) as stranger:
        for method, path in routes():
            answer = ask(stranger, method, path)
            assert answer.status_code == (200 if path in OPEN else 401), (method, path)
            if path not in OPEN:
                assert answer.json()["error"]["code"] == "unauthenticated"
                assert answer.headers["www-authenticate"] == "Bearer"


def test_a_token_does_what_its_scopes_say_and_never_administers(box: Serving) -> None:
    for scope in ("chat", "models", "metrics"):
        with box.client(box.token(scope)["token"]) as client:
            for method, path in routes():
                answer = ask(client, method, path)
                allowed = path in OPEN or GOOD.get(path) == scope
                assert (answer.status_code == 403) is not allowed, (scope, method, path, answer.text)
                if not allowed:
                    assert answer.json()["error"]["code"] == "not_allowed"


def test_what_is_no_token_is_refused_in_the_same_words(box: Serving) -> None:
    good = box.token()["token"]
    other = box.token(name="other")["token"]
    bad = (
        "x", "lb_", good[:-1], good + "x", good.upper(), f"{good[:20]}{other[20:]}", good[:3] + "0" * 16 + good[19:],
        "lb_" + "0" * 16 + "_" + "A" * 43, "%00", "' OR 1=1 --", "x" * 20_000,
    )  # fmt: skip
    said = set()
    for text in bad:
        with httpx.Client(base_url=box.url, headers={"authorization": f"Bearer {text}"}) as client:
            answer = client.get("/v1/models")
            assert answer.status_code == 401, text
            said.add(answer.json()["error"]["message"])
    assert len(said) == 1
    for headers in (
        [("authorization", f"Basic {good}")],
        [("authorization", good)],
        [("authorization", f"Bearer {good}"), ("authorization", f"Bearer {good}")],
        [("authorization", f"Bearer {good}, Bearer {good}")],
        [("cookie", f"token={good}")],
        [("x-api-key", good)],
    ):
        assert httpx.get(f"{box.url}/v1/models", headers=headers).status_code == 401
    assert httpx.get(f"{box.url}/v1/models", params={"token": good, "api_key": good}).status_code == 401


def test_a_token_on_the_socket_is_judged_by_itself_and_not_by_the_socket(box: Serving) -> None:
    token = box.token("models")["token"]
    with box.client() as local:
        assert local.get("/api/tokens").status_code == 200
        assert local.get("/api/tokens", headers={"authorization": f"Bearer {token}"}).status_code == 403
        assert local.get("/api/tokens", headers={"authorization": "Bearer wrong"}).status_code == 401


def test_a_revoked_token_ends_its_running_stream_within_a_second(box: Serving) -> None:
    made = box.token("chat")
    with box.client(made["token"]) as client, client.stream("POST", "/v1/chat/completions", json=ENDLESS) as stream:
        said = events(stream)
        next(said)
        next(said)
        began = time.monotonic()
        with box.client() as local:
            assert local.post(f"/api/tokens/{made['id']}/revoke").json()["ended"] == 1
        *_, last = said
        assert time.monotonic() - began < 1.0
        assert last["error"]["code"] == "access_withdrawn"
        assert client.post("/v1/chat/completions", json=CHAT).status_code == 401
    until(lambda: engine_is_idle(box))


def engine_is_idle(box: Serving) -> bool:
    with box.client() as local:
        return local.get("/api/status").json()["models"][0]["running"] == 0


def test_ten_megabytes_are_refused_without_being_read(box: Serving) -> None:
    token = box.token()["token"]
    body = json.dumps({"messages": [{"role": "user", "content": "x" * 10_000_000}]}).encode()
    with box.client(token) as client:
        answer = client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    with box.client(token) as client:  # and so where nobody says beforehand how much it will be
        chunks = (body[at : at + 65536] for at in range(0, len(body), 65536))
        answer = client.post("/v1/chat/completions", content=chunks, headers={"content-type": "application/json"})
        assert answer.status_code == 413


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "localhost@evil", "[::1"]
)
def test_a_page_of_another_site_reaches_nothing_by_a_name_of_its_own(box: Serving, host: str) -> None:
    with box.client(box.token()["token"], follow_redirects=False) as client:
        for method, path in (("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("GET", "/health/ready")):
            answer = client.request(method, path, headers={"host": host}, json=CHAT if method == "POST" else None)
            assert answer.status_code in (400, 421), (host, path)
            assert "access-control-allow-origin" not in answer.headers


def raw(box: Serving, request: bytes) -> bytes:
    with box.connect() as connection:
        connection.sendall(request)
        seen = b""
        while piece := connection.recv(65536):
            seen += piece
        return seen


CLIMBS = (
    "../../../../etc/passwd", "/../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd",
    "....//....//etc/passwd", "..\\..\\etc\\passwd", "clinical%00.json", "clinical/../../box.json",
    "%c0%ae%c0%ae/box.json", "file:///etc/passwd", "a" * 5000,
)  # fmt: skip


def test_no_path_leads_out_of_any_route(box: Serving) -> None:
    headers = f"Host: localhost\r\nAuthorization: Bearer {box.token('models', 'chat', 'metrics')['token']}\r\n"
    for prefix in ("/", "/v1/models/", "/v1/", "/api/models/", "/health/", "//"):
        for climb in CLIMBS:
            answer = raw(box, f"GET {prefix}{climb} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n".encode())
            assert answer.split(b" ")[1] in (b"400", b"404", b"405"), (prefix, climb, answer[:200])
            assert b"root:" not in answer
            assert b"box_id" not in answer


def test_names_in_bodies_lead_nowhere_either_not_even_for_the_administrator(box: Serving) -> None:
    names = (*CLIMBS, "..", ".", "", "a@..", "../a@1", "A", "a\0b", "a\nb", "x" * 300, "clinical@1.0.0/../2.0.0")
    with box.client() as local:
        for path in ("show", "activate", "rollback", "verify", "remove"):
            for name in names:
                answer = local.post(f"/api/models/{path}", json={"model": name})
                assert answer.status_code in (400, 404), (path, name, answer.text)
        for ticket in names:
            for path in ("offered", "install"):
                body = {"medium": ticket, "model": "clinical@2.0.0"} if path == "install" else {"medium": ticket}
                assert local.post(f"/api/models/{path}", json=body).status_code in (400, 404), (path, ticket)
        for identity in ("..", "%2e%2e", "..%2f..%2fx", "' OR 1=1 --", "x" * 5000, "%00"):
            assert local.post(f"/api/tokens/{identity}/revoke").status_code in (404, 405), identity


@pytest.mark.parametrize(
    "body",
    [
        {"days": 10**12}, {"days": -5}, {"days": 0}, {"days": 1.5}, {"days": True}, {"days": None},
        {"scopes": []}, {"scopes": ["all"]}, {"scopes": ["x" * 256] * 500}, {"scopes": ["chat"] * 5000},
        {"scopes": "chat"}, {"name": ""}, {"name": "x" * 256}, {"name": "\N{GRINNING FACE}" * 256},
        {"name": "a\x1b[2Jb"}, {"name": "\ud800"}, {"extra": 1},
    ],
    ids=lambda body: str(body)[:30],
)  # fmt: skip
def test_odd_wishes_for_a_token_are_refused_and_leave_none(box: Serving, body: dict[str, Any]) -> None:
    with box.client() as local:
        before = len(local.get("/api/tokens").json()["tokens"])
        wish = {"name": "odd", "scopes": ["chat"], "days": 1} | body
        answer = local.post("/api/tokens", content=json.dumps(wish), headers={"content-type": "application/json"})
        assert answer.status_code == 400, answer.text
        assert len(local.get("/api/tokens").json()["tokens"]) == before


def test_hundreds_of_idle_connections_and_slow_requests_keep_nobody_out(box: Serving) -> None:
    token = box.token()["token"]
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(box.connect()) for _ in range(400)]
        for connection in held[:200]:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: loc")  # a head that never ends
        for connection in held[200:300]:  # a body that nobody will read
            connection.sendall(b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx")
        for connection in held[:300]:
            with contextlib.suppress(OSError):
                connection.sendall(b"a")
        for client in (box.client(), box.client(token)):
            with client:
                began = time.monotonic()
                assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
                assert time.monotonic() - began < 5
        assert box.shell("status", "--json").json["ready"] is True


def test_no_http_at_all_does_no_harm(box: Serving) -> None:
    junk = (
        b"\0" * 1000, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10_000, b"GET /" + b"a" * 100_000,
        b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n",
        b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    )  # fmt: skip
    for data in junk:
        with box.connect() as connection, contextlib.suppress(ConnectionError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(4096)
            assert not answer or answer.split(b" ")[1] in (b"400", b"401", b"421", b"431"), answer


def test_one_token_that_asks_for_more_than_its_share_shuts_nobody_out(box: Serving) -> None:
    token = box.token("chat", name="hog")["token"]
    body = json.dumps(ENDLESS | {"max_tokens": 300}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    (model,) = box.shell("status", "--json").json["models"]
    places = model["parallel"] + GatewaySettings().queue
    with contextlib.ExitStack() as stack:
        hogs = [stack.enter_context(box.connect()) for _ in range(places - places // 4 + 9)]
        for connection in hogs:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        statuses = [connection.recv(12)[9:] for connection in hogs]
        assert statuses.count(b"429") == 9, "a quarter of the places is for others"
        assert box.answers()
    until(lambda: engine_is_idle(box))


def test_huge_prompts_of_one_token_do_not_hold_up_a_short_question(box: Serving) -> None:
    token = box.token("chat", name="hog")["token"]
    huge = {"messages": [{"role": "user", "content": "ab " * 2_500_000}]}

    def hog() -> None:
        with box.client(token) as client:
            answer = client.post("/v1/chat/completions", json=huge)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")

    hogs = [threading.Thread(target=hog) for _ in range(6)]
    for one in hogs:
        one.start()
    time.sleep(0.5)
    began = time.monotonic()
    assert box.answers()
    took = time.monotonic() - began
    for one in hogs:
        one.join()
    assert took < 10
