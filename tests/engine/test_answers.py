"""What a client of one engine may ask and what it gets: limits, stops, text, log-probabilities, cancellation."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from lumen_box.engine.protocol import Accepted, Finished, Generate, Tokens
from lumen_box.engine.sampling import GREEDY, Sampling
from lumen_box.engine.supervisor import Engine
from lumen_box.errors import LumenError, TooLong, UsageError
from tests.engine.support import CONTEXT, SETTINGS, Said, ask, encrypt, gather, running
from tests.support.tiny_model import write_tiny_model

PROMPT = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"


def with_engine(stored: Path, use: Callable[[Engine], Awaitable[None]], **more: object) -> None:
    async def run() -> None:
        async with running(stored, **more) as engine:  # type: ignore[arg-type]
            await use(engine)

    asyncio.run(run())


def scripted(folder: Path, *script: str | bytes, **more: object) -> Path:
    """A model that says exactly this after the template's prompt, and then ends."""
    return encrypt(write_tiny_model(folder / "scripted.gguf", script=script, **more))  # type: ignore[arg-type]


def test_the_end_token_ends_an_answer_unless_it_is_ignored(tmp_path: Path) -> None:
    async def use(engine: Engine) -> None:
        said = await ask(engine, PROMPT)
        assert (said.text, said.reason) == (" letter", "stop")
        assert said.finished
        assert said.finished.usage.completion_tokens == 1
        on = await ask(engine, PROMPT, sampling=dataclasses.replace(GREEDY, ignore_eos=True))
        assert on.reason == "length"
        assert len(on.ids) == 24

    with_engine(scripted(tmp_path, " letter"), use)


def test_a_stop_token_ends_an_answer_too(tmp_path: Path) -> None:
    async def use(engine: Engine) -> None:
        three = (await ask(engine, PROMPT)).ids[2]
        said = await ask(engine, PROMPT, stop_tokens=(three,))
        assert (said.text, said.reason) == ("one two", "stop")

    with_engine(scripted(tmp_path, "one", " two", " three", " four"), use)


def test_max_tokens_and_the_context_bound_an_answer(stored: Path) -> None:
    async def use(engine: Engine) -> None:
        assert engine.facts
        assert engine.facts.context == CONTEXT
        said = await ask(engine, "Hello", max_tokens=1)
        assert (len(said.ids), said.reason) == (1, "length")
        said = await ask(engine, (5,) * (CONTEXT - 10), max_tokens=None)
        assert (len(said.ids), said.reason) == (10, "length")

    with_engine(stored, use)


@pytest.mark.parametrize("length", [CONTEXT, CONTEXT + 1, 5000])
def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(stored: Path, length: int) -> None:
    async def use(engine: Engine) -> None:
        with pytest.raises(TooLong, match=rf"\b{length}\b.*\b{CONTEXT}\b") as caught:
            await ask(engine, (5,) * length)
        assert caught.value.exit_code == 33
        said = await ask(engine, (5,) * (CONTEXT - 1))
        assert (said.prompt_tokens, len(said.ids)) == (CONTEXT - 1, 1)

    with_engine(stored, use)


def test_a_text_that_does_not_fit_is_refused_too_and_others_go_on(stored: Path) -> None:
    async def use(engine: Engine) -> None:
        other = asyncio.create_task(ask(engine, "Hello", max_tokens=200))
        with pytest.raises(TooLong, match=r"has \d{4,} tokens.* context is 512"):
            await ask(engine, "answer " * 3000)
        assert len((await other).ids) == 200

    with_engine(stored, use)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Generate(prompt=(10**6,)), "token that the model does not have"),
        (Generate(prompt=(-1,)), "token that the model does not have"),
        (Generate(prompt="x", max_tokens=0), "max_tokens"),
        (Generate(prompt="x", stop=("",)), "stop"),
        (Generate(prompt="x", stop=("a",) * 17), "stop"),
        (Generate(prompt="x", stop_tokens=(1,) * 65), "stop tokens"),
        (Generate(prompt="x", logprobs=21), "logprobs"),
    ],
)
def test_an_impossible_request_is_refused_with_a_sentence(stored: Path, request_: Generate, words: str) -> None:
    async def use(engine: Engine) -> None:
        with pytest.raises(UsageError, match=words):
            await gather(engine.submit(request_))
        assert len((await ask(engine, "Hello")).ids) == 24

    with_engine(stored, use)


def test_an_empty_prompt_begins_with_the_begin_token(stored: Path) -> None:
    async def use(engine: Engine) -> None:
        said = await ask(engine, "")
        assert (said.prompt_tokens, len(said.ids)) == (1, 24)

    with_engine(stored, use)


def test_a_prompt_of_odd_text_is_only_text(stored: Path) -> None:
    """Lone surrogates, NULs, and a begin token of its own, which is not doubled."""

    async def use(engine: Engine) -> None:
        for prompt in ("\ud800 x", "a\0b", "\u202e\ufeff", "🎉" * 50):
            assert len((await ask(engine, prompt)).ids) == 24
        assert (await ask(engine, "<|bos|>Hello")).ids == (await ask(engine, "Hello")).ids

    with_engine(stored, use)


def test_special_tokens_in_the_text_count_only_where_asked(stored: Path) -> None:
    async def use(engine: Engine) -> None:
        (one,) = await engine.tokenize("<|im_end|>", parse_special=True)
        many = await engine.tokenize("<|im_end|>")
        assert len(many) > 1
        assert one not in many
        parsed = await ask(engine, "x<|im_end|>")
        unparsed = await ask(engine, "x<|im_end|>", parse_special=False)
        assert parsed.prompt_tokens < unparsed.prompt_tokens

    with_engine(stored, use)


def test_a_stop_string_across_tokens_ends_the_answer_before_it(tmp_path: Path) -> None:
    async def use(engine: Engine) -> None:
        assert (await ask(engine, PROMPT)).text == "one two three four"
        said = await ask(engine, PROMPT, stop=("nothing", "wo thr"), logprobs=0)
        assert (said.text, said.reason) == ("one t", "stop")
        assert said.finished
        assert said.finished.stop_text == "wo thr"
        assert [entry.text for entry in said.logprobs] == ["one", " two"]

    with_engine(scripted(tmp_path, "one", " two", " three", " four"), use)


def test_a_character_of_several_tokens_comes_whole(tmp_path: Path) -> None:
    async def use(engine: Engine) -> None:
        news = [n async for n in engine.submit(Generate(prompt=PROMPT, sampling=GREEDY, max_tokens=24))]
        texts = [n.text for n in news if isinstance(n, Tokens)]
        assert "".join(texts) == "caféx"
        assert "" in texts
        assert all("\ufffd" not in text for text in texts)

    with_engine(scripted(tmp_path, "caf", b"\xc3", b"\xa9", "x"), use)


@pytest.mark.parametrize("opened", [False, True])
def test_reasoning_comes_apart_from_the_answer(tmp_path: Path, opened: bool) -> None:
    script = ([] if opened else ["<think>"]) + ["why", "</think>", "because"]

    async def use(engine: Engine) -> None:
        prompt = PROMPT if not opened else PROMPT.replace("assistant\n", "assistant<think>\n")
        said = await ask(engine, prompt)
        assert (said.text, said.reasoning) == ("because", "why")
        assert said.finished
        assert said.finished.usage.reasoning_tokens > 0
        raw = await ask(engine, prompt, split_reasoning=False)
        assert raw.reasoning == ""
        assert raw.text == "".join(script)

    with_engine(scripted(tmp_path, *script), use, reasoning=("<think>", "</think>"))


def test_logprobs_are_those_of_the_whole_vocabulary(stored: Path) -> None:
    async def use(engine: Engine) -> None:
        said = await ask(engine, "Hello", logprobs=20, max_tokens=8, sampling=Sampling(temperature=1.5, seed=1))
        assert [entry.token for entry in said.logprobs] == said.ids
        for entry in said.logprobs:
            chances = [one.logprob for one in entry.top]
            assert len(chances) == 20
            assert chances == sorted(chances, reverse=True)
            assert sum(map(math.exp, chances)) <= 1.000001
            assert entry.logprob <= chances[0] < 0
            assert all(one.logprob == entry.logprob for one in entry.top if one.token == entry.token)
        greedy = await ask(engine, "Hello", logprobs=1, max_tokens=8)
        assert all(entry.token == entry.top[0].token for entry in greedy.logprobs)
        assert b"".join(entry.bytes for entry in greedy.logprobs).decode() == greedy.text
        assert not (await ask(engine, "Hello")).logprobs

    with_engine(stored, use)


def test_cancelling_takes_one_step_and_frees_the_place(stored: Path) -> None:
    async def use(engine: Engine) -> None:
        answer = engine.submit(Generate(prompt="Hello", sampling=GREEDY))
        news = []
        async for one in answer:
            news.append(one)
            if len(news) == 6:
                answer.cancel()
        assert isinstance(news[0], Accepted)
        last = news[-1]
        assert isinstance(last, Finished)
        assert last.reason == "cancelled"
        assert last.usage.completion_tokens < 400  # of the 510 that there was room for
        began = time.monotonic()
        assert len((await ask(engine, "Hello")).ids) == 24
        assert time.monotonic() - began < 10

    with_engine(stored, use, settings=dataclasses.replace(SETTINGS, parallel=1))


def test_one_who_waits_can_be_cancelled_and_one_not_yet_prepared_too(stored: Path) -> None:
    async def use(engine: Engine) -> None:
        running_ = engine.submit(Generate(prompt="Hello", sampling=GREEDY))
        waiting = engine.submit(Generate(prompt="Hello", sampling=GREEDY))
        unprepared = engine.submit(Generate(prompt="many words " * 20_000, sampling=GREEDY))
        unprepared.cancel()
        waiting.cancel()
        said = await gather(waiting)
        assert (said.reason, said.ids) == ("cancelled", [])
        try:
            assert (await gather(unprepared)).reason == "cancelled"
        except LumenError as error:
            assert isinstance(error, TooLong)  # it was prepared before the cancellation came
        running_.cancel()
        assert (await gather(running_)).reason in ("cancelled", "length")
        running_.cancel()  # a second time, and after the end: nothing

    with_engine(stored, use, settings=dataclasses.replace(SETTINGS, parallel=1))


def test_an_answer_left_in_the_middle_is_cancelled(stored: Path) -> None:
    async def use(engine: Engine) -> None:
        async with engine.submit(Generate(prompt="Hello", sampling=GREEDY)) as answer:
            async for _ in answer:
                break
        said: Said = await ask(engine, "Hello", max_tokens=2)
        assert said.finished
        assert said.finished.timings.waiting < 5
        for _ in range(20):
            if engine.status().running == 0:
                break
            await asyncio.sleep(0.3)
        assert engine.status().running == 0

    with_engine(stored, use, settings=dataclasses.replace(SETTINGS, parallel=1))
