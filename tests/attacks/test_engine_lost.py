"""The engine killed, frozen, or ended with its monitor, in the middle of an answer over HTTP."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from .serving import CHAT, TEMPLATES, USER, WORKER, Serving, command_line, events, until

TALK = {"messages": [USER], "ignore_eos": True}
SILENCE = 10.0  # seconds without a beat after which a worker counts as frozen; see engine/process.py


def restarts(box: Serving) -> int:
    with box.client() as local:
        return int(local.get("/api/status").json()["models"][0]["restarts"])


@pytest.mark.parametrize(
    ("how", "within"), [(signal.SIGKILL, 3.0), (signal.SIGSTOP, SILENCE + 5)], ids=["killed", "frozen"]
)
def test_the_client_is_told_in_words_and_the_next_question_is_answered(
    box: Serving, how: signal.Signals, within: float
) -> None:
    worker, before, token = box.running(WORKER), restarts(box), box.token("chat")["token"]
    with (
        box.client(token) as client,
        client.stream("POST", "/v1/chat/completions", json=TALK | {"stream": True}) as one,
    ):
        said = events(one)
        next(said)
        next(said)
        began = time.monotonic()
        os.kill(worker, how)
        *_, last = said
        assert time.monotonic() - began < within
        error = last["error"]
        assert (error["code"], error["type"]) == ("no_model", "server_error")
        assert "The engine stopped" in error["message"]
        assert "Ask again in a few seconds." in error["message"]
        # whoever asks meanwhile is told the same at once, and soon it works again
        answer = client.post("/v1/chat/completions", json=CHAT)
        if answer.status_code != 200:
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        until(box.answers)
    assert restarts(box) == before + 1
    assert not Path(f"/proc/{worker}").exists(), "a frozen worker is ended, not left behind"
    assert box.running(WORKER) != worker


def test_an_unstreamed_answer_gets_a_status_of_its_own(box: Serving) -> None:
    worker = box.running(WORKER)
    with box.client() as local:
        request = local.build_request("POST", "/v1/chat/completions", json=TALK)
        threading.Timer(1.0, os.kill, (worker, signal.SIGKILL)).start()
        answer = local.send(request)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "no_model"
    until(box.answers)


def test_the_engine_goes_with_its_monitor_and_comes_back(box: Serving) -> None:
    worker, monitor = box.running(WORKER), box.processes(WORKER)[0]
    assert monitor != worker
    os.kill(monitor, signal.SIGKILL)
    until(lambda: not command_line(worker))
    until(box.answers)


def test_the_template_helper_may_be_killed_or_frozen_too(box: Serving) -> None:
    assert box.answers()
    os.kill(box.running(TEMPLATES), signal.SIGKILL)
    until(box.answers, 15)
    helper = box.running(TEMPLATES)
    os.kill(helper, signal.SIGSTOP)
    with box.client() as local:
        answer = local.post("/v1/chat/completions", json=CHAT)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "damaged")
    assert box.answers()
    assert not command_line(helper)


def test_when_the_gateway_is_killed_nothing_of_it_lives_on(box: Serving) -> None:
    family = box.processes()
    assert len(family) >= 5
    os.kill(box.pid, signal.SIGKILL)
    until(lambda: not any(command_line(pid) for pid in family))
    box.url = box.shell("serve", "--port", "0", "--detach").out.strip()
    assert box.answers()
