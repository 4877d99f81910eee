"""Who gets in: uids on the socket, tokens over TCP, Host names, and nothing else."""

from __future__ import annotations

import os
from typing import Any

import pytest

from lumen_box.api.app import create_app
from lumen_box.api.authorise import RULES, Action, authorise
from lumen_box.api.identify import Peer
from lumen_box.api.principal import ROLES, Principal
from lumen_box.errors import NotAllowed

from .fakes import FakeBox
from .http import CHAT, USER, asking, error_of, post, run

TCP: dict[str, Any] = {}  # what the server puts into the state of a TCP request: no peer
OWN = {"peer": Peer(os.geteuid(), 1)}


def ask(box: FakeBox, state: dict[str, Any], path: str, headers: dict[str, str] | None = None) -> Any:
    """One request with the state that a server would have set; a POST where the path takes one."""
    app = create_app(box)
    app.state.in_process = lambda: dict(state)

    async def once() -> Any:
        async with asking(box, app=app) as client:
            if "chat" in path:
                return await client.post(path, json=CHAT, headers=headers)
            return await client.get(path, headers=headers)

    return run(once())


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        (bearer("chat-token"), 200),
        (bearer("chat-tokenx"), 200),
        ({"authorization": "bearer chat-token"}, 200),
        (bearer("nonsense"), 401),
        (bearer(""), 401),
        (bearer("x" * 20_000), 401),
        ({"authorization": "Basic Y2hhdC10b2tlbg=="}, 401),
        ({"authorization": "chat-token"}, 401),
        (bearer("metrics-token"), 403),
        (bearer("models-token"), 403),
    ],
    ids=str,
)
def test_over_tcp_only_a_token_with_the_scope_chats(headers: dict[str, str], status: int) -> None:
    box = FakeBox()
    response = ask(box, TCP, "/v1/chat/completions", headers)
    assert response.status_code == status
    assert bool(box.model.answers) == (status == 200)
    if status != 200:
        error_of(response)
    assert ("www-authenticate" in response.headers) == (status == 401)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize(
    ("token", "status"), [("chat-token", 403), ("isolated-token", 403), ("chat+isolated-token", 200)]
)
def test_not_everybody_may_have_everybody_else_wait(path: str, token: str, status: int) -> None:
    box = FakeBox()
    asked: dict[str, Any] = {"messages": [USER]} if "chat" in path else {"prompt": "Hello"}
    asked["x_lumen_isolated"] = True
    headers = {"authorization": f"Bearer {token}"}
    response = post(box, path, asked, headers=headers)
    assert response.status_code == status
    assert [answer.request.isolated for answer in box.model.answers] == ([True] if status == 200 else [])


def test_a_bad_token_on_the_socket_does_not_fall_back_to_the_uid() -> None:
    assert ask(FakeBox(), OWN, "/v1/models").status_code == 200
    assert ask(FakeBox(), OWN, "/v1/models", bearer("nonsense")).status_code == 401


@pytest.mark.parametrize(
    ("uid", "status"),
    [(0, 200), (os.geteuid(), 200), (4242, 403)],
)
def test_on_the_socket_root_and_the_boxs_own_user_have_a_role(uid: int, status: int) -> None:
    assert ask(FakeBox(), {"peer": Peer(uid, 1)}, "/metrics").status_code == status


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("localhost", True), ("localhost:8180", True), ("127.0.0.1:1", True), ("[::1]:8180", True), ("[::1]", True),
     ("LOCALHOST", True), ("evil.example", False), ("evil.example:8180", False), ("localhost.evil.example", False),
     ("127.0.0.1.evil.example", False), ("", False), ("127.0.0.2", False), ("localhost:80:80", False)],
)  # fmt: skip
def test_over_tcp_the_host_must_be_this_machine(host: str, allowed: bool) -> None:
    response = ask(FakeBox(), TCP, "/v1/models", {"host": host, **bearer("models-token")})
    assert (response.status_code == 200) == allowed
    assert allowed or error_of(response)["code"] == "wrong_host"
    assert ask(FakeBox(), OWN, "/v1/models", {"host": host}).status_code == 200  # the socket's peer is known anyway


def test_strangers_see_health_and_nothing_else() -> None:
    box = FakeBox()
    assert ask(box, TCP, "/health/live").json() == {"status": "live"}
    ready = ask(box, TCP, "/health/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
    box.loading = True
    loading = ask(box, TCP, "/health/ready")
    assert (loading.status_code, loading.json()) == (503, {"status": "loading", "percent": 40})
    box.sealed = True
    sealed = ask(box, TCP, "/health/ready")
    assert (sealed.status_code, sealed.json()) == (503, {"status": "sealed"})
    assert ask(box, TCP, "/health/ready", {"host": "evil.example"}).status_code == 421
    for path in ("/metrics", "/v1/models", "/", "/health", "/health/live/", "/nothing", "//health/live"):
        assert ask(box, TCP, path).status_code == 401, path


def test_metrics_need_the_socket_or_a_token_of_that_scope() -> None:
    assert ask(FakeBox(), OWN, "/metrics").status_code == 200
    assert ask(FakeBox(), TCP, "/metrics", bearer("metrics-token")).status_code == 200
    assert ask(FakeBox(), TCP, "/metrics", bearer("chat-token")).status_code == 403


def test_answers_are_never_cached_or_sniffed() -> None:
    for response in (ask(FakeBox(), OWN, "/v1/chat/completions"), ask(FakeBox(), TCP, "/metrics")):
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert not [name for name in response.headers if name.startswith("access-control")]


def test_every_action_has_a_rule_and_no_rule_a_stray_role() -> None:
    assert set(RULES) == set(Action)
    assert all(rule.roles and rule.roles <= ROLES for rule in RULES.values())


@pytest.mark.parametrize("action", Action)
def test_nobody_does_what_the_table_does_not_allow(action: Action) -> None:
    rule = RULES[action]
    for role in ROLES:
        check(Principal("me", "session", roles=frozenset({role})), action, role in rule.roles)
    for scope in ("chat", "isolated", "models", "metrics", "administrator"):
        check(Principal("me", "token", scopes=frozenset({scope})), action, scope == rule.scope)
    # What makes a person powerful means nothing on a token, and the reverse.
    check(Principal("me", "token", roles=ROLES), action, False)
    check(Principal("me", "local", scopes=frozenset({"chat", "models", "metrics"})), action, False)
    check(Principal("me", "session"), action, False)


def check(principal: Principal, action: Action, allowed: bool) -> None:
    try:
        authorise(principal, action, owner="me")
    except NotAllowed:
        assert not allowed
    else:
        assert allowed


@pytest.mark.parametrize("action", [Action.FOLLOW, Action.CANCEL])
def test_a_generation_is_its_owners_alone(action: Action) -> None:
    administrator = Principal("uid:0", "local", roles=ROLES)
    authorise(administrator, action, owner="uid:0")
    for owner in ("uid:1", None, ""):
        with pytest.raises(NotAllowed):
            authorise(administrator, action, owner=owner)


def test_whoever_is_turned_away_is_remembered() -> None:
    box = FakeBox()
    ask(box, TCP, "/metrics")
    ask(box, TCP, "/metrics", bearer("chat-token"))
    assert [code for code, _ in box.turned_away] == ["unauthenticated", "not_allowed"]
    ask(box, OWN, "/metrics")
    assert len(box.turned_away) == 2
