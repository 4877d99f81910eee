"""Chat templates are strangers' programs: good ones render as everywhere else, bad ones get a sentence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from lumen_box.clock import Clock
from lumen_box.engine.templates import Chat, Renderer
from lumen_box.errors import Damaged, NoModel, UsageError
from tests.support.tiny_model import TEMPLATE

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
NOON = Clock(now=lambda: datetime(2026, 11, 23, 12, tzinfo=UTC))


def render(template: str, messages: list[dict[str, Any]] = HELLO, *, seconds: float = 30.0, **more: Any) -> str:
    async def run() -> str:
        renderer = Renderer(template, bos="<s>", eos="</s>", clock=NOON, seconds=seconds)
        try:
            return await renderer.render(messages, **more)
        finally:
            await renderer.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (TEMPLATE, "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"),
        ("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}", "<s>Hello</s>"),
        ("{% for m in messages %}\n  {% if m.role %}\n[{{ m['content'] }}]\n  {% endif %}\n{% endfor %}", "[Hello]\n"),
        ("{{ messages | tojson }}", '[{"role": "user", "content": "Hello"}]'),
        ("{{ '<é>' | tojson }}", '"<é>"'),
        ("{{ {'a': 1} | tojson(indent=1) }}", '{\n "a": 1\n}'),
        ("{{ strftime_now('%d %b %Y') }}", "23 Nov 2026"),
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
        ("{% set n = namespace(x=1) %}{% for m in messages %}{% set n.x = 5 %}{% endfor %}{{ n.x }}", "5"),
        ("{% generation %}a{{ 1 }}{% endgeneration %}b", "a1b"),
        ("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f('y') }}", "<y>"),
        ("{% if tools %}{{ tools[0].name }}{% else %}none{% endif %}", "none"),
        ("{{ missing }}|{{ missing is defined }}", "|False"),
        ("{{ 'ok' if enable_thinking else 'no' }}", "no"),
    ],
)  # fmt: skip
def test_what_templates_use_works_as_they_expect(template: str, expected: str) -> None:
    assert render(template) == expected


def test_tools_options_and_no_generation_prompt_reach_the_template() -> None:
    template = "{{ tools[0].name }} {{ enable_thinking }} {{ add_generation_prompt }}"
    options = {"enable_thinking": False}
    assert render(template, tools=[{"name": "t"}], options=options, add_generation_prompt=False) == "t False False"


def test_what_the_template_itself_refuses_is_the_callers_mistake() -> None:
    with pytest.raises(UsageError, match="roles must alternate"):
        render("{{ raise_exception('Conversation roles must alternate') }}")


def test_a_model_without_a_template_says_so() -> None:
    with pytest.raises(UsageError, match="no chat template"):
        render("")


ESCAPES = {
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "function": "{{ raise_exception.__globals__ }}",
    "lambda": "{{ strftime_now.__code__ }}",
    "format": "{{ '{0.__class__.__init__.__globals__}'.format(strftime_now) }}",
    "format_map": "{{ '{x.__class__}'.format_map({'x': 1}) }}",
    "attr": "{{ messages | attr('__class__') | attr('__base__') }}",
    "map": "{{ messages | map(attribute='__class__') | list }}",
    "import": "{% import 'os' as os %}{{ os }}",
    "include": "{% include '/etc/passwd' %}",
    "extends": "{% extends '/etc/passwd' %}",
    "change": "{{ messages.append(1) }}",
    "self": "{{ self.__init__.__globals__ }}",
    "environment": "{{ namespace.__init__.__globals__ }}",
}


@pytest.mark.parametrize("template", ESCAPES.values(), ids=ESCAPES.keys())
def test_attempts_to_escape_come_to_nothing(template: str) -> None:
    try:
        said = render(template)
    except Damaged as error:
        assert error.exit_code == 22
    else:
        assert not any(word in said for word in ("class", "uid=", "root", "module", "builtin"))


BROKEN = {
    "syntax": "{% for %}",
    "unknown filter": "{{ 1 | nonsense }}",
    "unknown tag": "{% nonsense %}",
    "type": "{{ 1 + 'x' }}",
    "undefined": "{{ missing.deeper.still }}",
    "division": "{{ 1 // 0 }}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "range": "{% for i in range(10**9) %}x{% endfor %}",
    "memory": "{{ 'x' * 10**12 }}",
    "long": "{#" + "x" * 2_000_000 + "#}",
}


@pytest.mark.parametrize("template", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_template_gets_a_sentence(template: str) -> None:
    with pytest.raises(Damaged, match="template is not usable: ") as caught:
        render(template, seconds=3.0)
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()


ENDLESS = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "one expression": "{{ 7 ** 99999999 }}",
}


@pytest.mark.parametrize("template", ENDLESS.values(), ids=ENDLESS.keys())
def test_a_template_that_never_ends_is_stopped_in_time(template: str) -> None:
    began = time.monotonic()
    with pytest.raises(Damaged, match="does not come to an end"):
        render(template, seconds=2.0)
    assert time.monotonic() - began < 12


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{{ 'x' * 100000 }}{% endfor %}",  # ten gigabytes in small pieces
        "{% for a in range(99999) %}{{ 'y' * 9999999 }}{% endfor %}",  # a thousand times that
    ],
)
def test_a_template_that_prints_gigabytes_is_stopped(template: str) -> None:
    with pytest.raises(Damaged, match="writes more than"):
        render(template)


def test_after_a_bad_render_the_same_renderer_serves_the_next() -> None:
    loop = ENDLESS["nested loops"]
    renderer = Renderer(f"{{% if messages[0].content == 'loop' %}}{loop}{{% endif %}}fine", seconds=4.0)
    for content, good in (("hello", True), ("loop", False), ("hello", True)):
        chat = Chat([{"role": "user", "content": content}])
        if good:
            assert renderer.render_now(chat) == "fine"
        else:
            with pytest.raises(Damaged):
                renderer.render_now(chat)
    asyncio.run(renderer.close())


@pytest.fixture
def renderer() -> Iterator[Renderer]:
    one = Renderer(TEMPLATE, seconds=30)
    yield one
    asyncio.run(one.close())


def test_odd_conversations_are_only_data(renderer: Renderer) -> None:
    for content in ("{{ 7 * 7 }}", "{% raw %}", "\ud800", "\0", "🎉", "</s>", "x" * 1_000_000):
        assert content.strip() in renderer.render_now(Chat([{"role": "user", "content": content}]))


def test_many_at_once_get_each_their_own(renderer: Renderer) -> None:
    async def run() -> list[str]:
        return await asyncio.gather(*[renderer.render([{"role": "user", "content": f"n{n}."}]) for n in range(20)])

    for number, prompt in enumerate(asyncio.run(run())):
        assert f"n{number}." in prompt


def test_whoever_leaves_the_queue_is_not_rendered_for_and_nothing_else_waits() -> None:
    """A slow template has one thread to keep busy, not those that the rest of the gateway shares."""
    slow = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}"
    template = f"{{% if messages[0].content == 'slow' %}}{slow}{{% endif %}}fine"

    async def scene() -> float:
        renderer = Renderer(template, seconds=2.0)
        try:
            await renderer.render([{"role": "user", "content": "warm up"}])
            hogs = [asyncio.create_task(renderer.render([{"role": "user", "content": "slow"}])) for _ in range(40)]
            await asyncio.sleep(0.1)
            began = time.monotonic()
            await asyncio.wait_for(asyncio.to_thread(time.sleep, 0), 1)
            for hog in hogs:
                hog.cancel()
            assert await renderer.render([{"role": "user", "content": "quick"}]) == "fine"
            return time.monotonic() - began
        finally:
            await renderer.close()

    assert asyncio.run(scene()) < 20  # for the one under way and a new helper; forty would take 80 seconds


def test_unloading_tells_those_who_queue_and_starts_no_helper_again() -> None:
    async def scene() -> None:
        renderer = Renderer("{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}", seconds=1)
        waiting = [asyncio.create_task(renderer.render(HELLO)) for _ in range(3)]
        await asyncio.sleep(0.1)
        await renderer.close()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in ends[1:]] == [NoModel, NoModel]
        with pytest.raises(NoModel):
            await renderer.render(HELLO)
        assert renderer._helper._child is None

    asyncio.run(scene())
