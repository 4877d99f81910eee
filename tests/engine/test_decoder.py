"""When llama.cpp itself fails in a step: that step's answers end with an error, the others go on."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lumen_box.engine.answering import Answering
from lumen_box.engine.decoder import Broken, Decoder
from lumen_box.engine.llama import Context, ContextSize, Model
from lumen_box.engine.protocol import Accepted, Event, Finished, Generate, Refused
from lumen_box.engine.sampling import GREEDY

SIZE = ContextSize(context=256, parallel=2, batch=8, threads=1)
EMPTY = 20  # bytes of the state of a slot that holds nothing


class Failing(Context):
    """A real context whose steps can be made to fail as llama.cpp says it does."""

    code = 0

    def decode(self, runs: Sequence[tuple[int, int, Sequence[int], bool]]) -> int:
        return self.code or super().decode(runs)


@pytest.fixture(scope="module")
def model(gguf: Path) -> Iterator[Model]:
    c = ctypes.CDLL(None)
    c.fopen.restype, c.fopen.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_char_p]
    loaded = Model(ctypes.c_void_p(c.fopen(str(gguf).encode(), b"rb")), gpu_layers=0, progress=lambda done: None)
    yield loaded
    loaded.close()


@pytest.fixture
def context(model: Model) -> Iterator[Failing]:
    made = Failing(model, SIZE)
    yield made
    made.close()


def request(model: Model, number: int, prompt: int = 3, **more: int) -> Answering:
    wanted = Generate(prompt="", sampling=GREEDY, id=number, **more)  # type: ignore[arg-type]
    return Answering(wanted, list(range(5, 5 + prompt)), model, 256, None)


def finished(events: list[Event]) -> dict[int, str]:
    return {event.id: event.reason for event in events if isinstance(event, Finished)}


@pytest.mark.parametrize("code", [1, 2, -1])
def test_a_failed_step_ends_its_answers_and_the_rest_go_on(model: Model, context: Failing, code: int) -> None:
    decoder = Decoder(context, 2, 8)
    for number in (1, 2, 3):
        assert decoder.add(request(model, number, max_tokens=4)) == Accepted(number, 3)
    decoder.step()
    context.code = code
    events = decoder.step()
    assert finished(events) == {1: "error", 2: "error"}
    assert all(str(code) in event.message for event in events if isinstance(event, Finished))
    assert context.cells.size(0) == context.cells.size(1) == EMPTY
    context.code = 0
    reasons: dict[int, str] = {}
    while decoder:
        reasons |= finished(decoder.step())
    assert reasons == {3: "length"}


def test_after_a_fatal_failure_the_process_is_to_be_replaced(model: Model, context: Failing) -> None:
    decoder = Decoder(context, 2, 8)
    decoder.add(request(model, 1))
    context.code = -2
    with pytest.raises(Broken) as caught:
        decoder.step()
    assert finished(caught.value.events) == {1: "error"}


def test_one_number_is_taken_once_and_too_many_are_told_to_wait(model: Model, context: Failing) -> None:
    decoder = Decoder(context, 1, 8, most_waiting=2)
    assert isinstance(decoder.add(request(model, 1)), Accepted)
    assert isinstance(decoder.add(request(model, 1)), Refused)
    assert isinstance(decoder.add(request(model, 2)), Accepted)
    refused = decoder.add(request(model, 3))
    assert isinstance(refused, Refused)
    assert refused.code == "busy"


def test_cancelling_says_how_far_it_came_and_an_unknown_number_says_nothing(model: Model, context: Failing) -> None:
    decoder = Decoder(context, 1, 8)
    decoder.add(request(model, 1))
    for _ in range(3):
        decoder.step()
    gone = decoder.cancel(1)
    assert isinstance(gone, Finished)
    assert (gone.reason, gone.usage.prompt_tokens, gone.usage.completion_tokens) == ("cancelled", 3, 3)
    assert decoder.cancel(1) is None
    assert not decoder


def test_a_slot_used_again_remembers_nothing_of_the_answer_before(model: Model, context: Failing) -> None:
    """Logits of the same prompt are equal in a fresh slot and in one that others have used."""

    def tokens(decoder: Decoder, number: int) -> list[int]:
        answer = request(model, number, max_tokens=12)
        decoder.add(answer)
        while decoder:
            decoder.step()
        return answer.sequence.tokens

    decoder = Decoder(context, 1, 8)
    fresh = tokens(decoder, 1)
    decoder.add(request(model, 2, prompt=40, max_tokens=50))
    for _ in range(20):
        decoder.step()
    decoder.cancel(2)
    assert tokens(decoder, 3) == fresh
