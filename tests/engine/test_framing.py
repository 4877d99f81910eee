"""Messages survive the way there and back; what is no message is refused before it is used."""

from __future__ import annotations

import json

import pytest

from lumen_box.config import EngineSettings
from lumen_box.engine import protocol as p
from lumen_box.engine.framing import HEAD, MAX_JSON, MAX_TAIL, Frames, ProtocolError, pack, sizes, unpack
from lumen_box.engine.sampling import Sampling

FACTS = p.ModelFacts("llama 8B", "llama", 8, 9, 512, 2048, 1000, 4, 256, 2, 32, 0, "<s>", "</s>")
TO_WORKER: list[p.ToWorker] = [
    p.Load("00" * 16, 2**40, EngineSettings(parallel=3), ("<think>", "</think>"), check_only=True),
    p.Load("00" * 16, 5, EngineSettings()),
    p.Generate("Grüße\ud800 🎉", Sampling(temperature=0.5, seed=3), 7, ("a", "b"), (3,), 0, id=9),
    p.Generate((1, 2, 3), max_tokens=None),
    p.Cancel(4),
    p.Tokenize(5, "x", True, False),
]
FROM_WORKER: list[p.FromWorker] = [
    p.Ready(1),
    p.Loading(50),
    p.Loaded(FACTS),
    p.LoadFailed("damaged", "It is broken.", "Mend it."),
    p.Beat(1, 2, 3, 0.5),
    p.TokenIds(3, (1, 2)),
    p.Step(
        (
            p.Accepted(1, 3),
            p.Tokens(1, (5,), "text", "why", (p.Logprob(5, "\xc3", -0.5, (p.Alternative(6, "x", -1.0),)),)),
            p.Finished(1, "stop", p.Usage(3, 1), p.Timings(0.0, 0.1, 0.2), "END"),
            p.Refused(2, "usage", "No.", "Do this."),
        )
    ),
]


@pytest.mark.parametrize("message", TO_WORKER, ids=lambda m: type(m).__name__)
def test_messages_to_the_worker_arrive_as_they_were(message: p.ToWorker) -> None:
    ((body, tail),) = Frames().feed(pack(message, b"secret"))
    assert unpack(body, p.ToWorker) == message
    assert tail == b"secret"
    assert b"secret" not in body


@pytest.mark.parametrize("message", FROM_WORKER, ids=lambda m: type(m).__name__)
def test_messages_from_the_worker_arrive_as_they_were(message: p.FromWorker) -> None:
    ((body, _),) = Frames().feed(pack(message))
    assert unpack(body, p.FromWorker) == message


def test_frames_are_found_however_the_bytes_come() -> None:
    stream = b"".join(pack(message, b"k" * 32) for message in TO_WORKER)
    for size in (1, 3, 7, len(stream)):
        frames = Frames()
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        found = [unpack(body, p.ToWorker) for piece in pieces for body, _ in frames.feed(piece)]
        assert found == TO_WORKER


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"null",
        b"{}",
        b'{"=":"Load"}',  # the other direction's
        b'{"=":"Beat","running":"1"}',
        b'{"=":"Beat","running":true}',
        b'{"=":"Beat","unknown":1}',
        b'{"=":"Ready"}',
        b'{"=":"Step","events":[{"=":"Beat"}]}',
        b'{"=":"Step","events":{"=":"Accepted"}}',
        b'{"=":"TokenIds","id":1,"ids":["1"]}',
        b'{"=":"Popen","args":"true"}',
        json.dumps({"=": "Step", "events": [{"=": "Finished", "id": 1, "reason": "because"}]}).encode(),
        b"[" * 100_000,
        b'{"=":"Ready","pid":' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_message_of_a_worker_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        unpack(body, p.FromWorker)


@pytest.mark.parametrize("value", ["NaN", "-1", "1e9"])
def test_impossible_sampling_is_refused_by_the_worker_too(value: str) -> None:
    body = json.dumps({"=": "Generate", "prompt": "x", "sampling": {"=": "Sampling", "temperature": "?"}})
    with pytest.raises(ProtocolError):
        unpack(body.replace('"?"', value).encode(), p.ToWorker)


@pytest.mark.parametrize("head", [HEAD.pack(MAX_JSON + 1, 0), HEAD.pack(0, MAX_TAIL + 1), b"\xff" * 8])
def test_a_frame_too_large_is_refused_by_its_head(head: bytes) -> None:
    with pytest.raises(ProtocolError):
        sizes(head)
    with pytest.raises(ProtocolError):
        list(Frames().feed(head))
