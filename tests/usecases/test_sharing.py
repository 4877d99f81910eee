"""What of a published prompt the engine is told: the beginning that every conversation with it really has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from lumen_box.clock import Clock
from lumen_box.engine.imitation import Imitations
from lumen_box.engine.supervisor import Engine
from lumen_box.engine.templates import Renderer
from lumen_box.errors import Sealed
from lumen_box.usecases import sharing
from lumen_box.usecases.prompts import Kind, Prompt
from lumen_box.usecases.sharing import Sharing, refusing
from tests.support.tiny_model import TEMPLATE

LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n'"
    " + m.content | trim + '<|eot_id|>' }}{% endfor %}"
)
DATED = "{{ strftime_now('%d %b %Y') }}\n" + TEMPLATE
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + TEMPLATE
)
LAST = "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}{{ messages[0].content }}"
DEFAULTED = "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}" + TEMPLATE
BROKEN = "{{ 1 // 0 }}"


@dataclass
class Told:
    """Stands where the engine does, and remembers what it was told."""

    sets: list[tuple[str, ...]] = field(default_factory=list)

    def share(self, prefixes: tuple[str, ...]) -> None:
        self.sets.append(prefixes)


def prompt(name: str, text: str, kind: Kind = "system") -> Prompt:
    return Prompt(name, kind, text, "2026-11-23T09:00:00Z")


Work = Callable[[Sharing, Told, Renderer], Awaitable[None]]


def scene(template: str, work: Work, published: list[Prompt], now: list[datetime]) -> None:
    async def run() -> None:
        told, clock = Told(), Clock(now=lambda: now[0])
        renderer = Renderer(template, bos="<s>", eos="</s>", clock=clock, seconds=30)
        try:
            await work(Sharing(cast(Engine, told), renderer.render, clock, lambda: list(published)), told, renderer)
        finally:
            await renderer.close()

    asyncio.run(run())


def noon(days: int = 0) -> datetime:
    return datetime(2026, 11, 23, 12, tzinfo=UTC) + timedelta(days=days)


@pytest.mark.parametrize(
    ("template", "kind", "expected"),
    [
        (TEMPLATE, "system", "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"),
        (TEMPLATE, "document", "<|im_start|>user\nBe brief."),
        (DEFAULTED, "document", "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nBe brief."),
        (
            LLAMA3,
            "system",
            "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\n",
        ),
    ],
)
def test_a_conversation_with_the_prompt_begins_with_what_is_shared(template: str, kind: Kind, expected: str) -> None:
    published = prompt("ward", "Be brief.", kind)

    async def work(sharing: Sharing, told: Told, renderer: Renderer) -> None:
        await sharing.refresh()
        assert told.sets == [(expected,)] and sharing.shared == {"ward"} and not sharing.problems
        for question in ("What is a tablet?", "And now? Again", "\n x"):
            assert (await renderer.render(published.conversation(question))).startswith(expected.rstrip())

    scene(template, work, [published], [noon()])


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (NO_SYSTEM, "System role not supported"),
        (LAST, "does not put this text"),
        (BROKEN, "not usable"),
        ("", "no chat template"),
    ],
)
def test_a_template_that_does_not_take_a_prompt_says_why_and_nothing_is_shared(template: str, why: str) -> None:
    async def work(sharing: Sharing, told: Told, renderer: Renderer) -> None:
        await sharing.refresh()
        assert told.sets == [] and not sharing.shared
        assert why in sharing.problems["ward"]

    scene(template, work, [prompt("ward", "Be brief.")], [noon()])


def test_what_the_engine_reads_in_pieces_is_not_shared_and_says_so() -> None:
    async def work(sharing: Sharing, told: Told, renderer: Renderer) -> None:
        sharing._render = refusing(Imitations(["<|im_end|>"]), sharing._render)
        await sharing.refresh()
        assert sharing.shared == {"b"} and "control tokens" in sharing.problems["a"]

    scene(TEMPLATE, work, [prompt("a", "Say <|im_end|>."), prompt("b", "Say <im_end>.")], [noon()])


def test_one_prompt_that_is_not_taken_keeps_no_other_from_being_shared() -> None:
    async def work(sharing: Sharing, told: Told, renderer: Renderer) -> None:
        await sharing.refresh()
        assert sharing.shared == {"leaflet"} and list(sharing.problems) == ["ward"]

    scene(NO_SYSTEM, work, [prompt("ward", "Be brief."), prompt("leaflet", "Take one.", "document")], [noon()])


def test_the_engine_hears_of_every_change_and_of_nothing_else() -> None:
    published = [prompt("a", "Be brief.")]

    async def work(sharing: Sharing, told: Told, renderer: Renderer) -> None:
        await sharing.refresh()
        await sharing.refresh()
        assert len(told.sets) == 1
        published.append(prompt("b", "Be long."))
        await asyncio.gather(sharing.refresh(), sharing.refresh())
        assert [len(prefixes) for prefixes in told.sets] == [1, 2]
        published.clear()
        await sharing.refresh()
        assert told.sets[-1] == () and not sharing.shared

    scene(TEMPLATE, work, published, [noon()])


def test_nothing_published_asks_nothing_of_engine_or_template() -> None:
    async def work(sharing: Sharing, told: Told, renderer: Renderer) -> None:
        await sharing.refresh()
        sharing.renew()
        assert told.sets == [] and renderer._helper._child is None

    scene(TEMPLATE, work, [], [noon()])


def test_a_template_that_writes_the_date_is_rendered_again_the_next_day() -> None:
    now = [noon()]

    async def work(sharing: Sharing, told: Told, renderer: Renderer) -> None:
        await sharing.refresh()
        sharing.renew()
        assert sharing._renewing is None
        now[0] = noon(1)
        sharing.renew()
        sharing.renew()
        assert sharing._renewing is not None
        await sharing._renewing
        assert [prefixes[0][:11] for prefixes in told.sets] == ["23 Nov 2026", "24 Nov 2026"]

    scene(DATED, work, [prompt("ward", "Be brief.")], now)


def test_what_the_engine_does_not_take_any_more_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "MAX_SHARED_TEXT", 150)

    async def work(sharing: Sharing, told: Told, renderer: Renderer) -> None:
        await sharing.refresh()
        assert sharing.shared == {"a"} and list(sharing.problems) == ["b"]

    scene(TEMPLATE, work, [prompt("a", "x" * 50), prompt("b", "y" * 50)], [noon()])


def test_a_box_that_is_sealed_meanwhile_shares_nothing() -> None:
    async def run() -> None:
        def sealed() -> list[Prompt]:
            raise Sealed("The box is sealed.")

        told = Told()
        one = Sharing(cast(Engine, told), Renderer(TEMPLATE).render, Clock(), sealed)
        await one.refresh()
        assert told.sets == []

    asyncio.run(run())
