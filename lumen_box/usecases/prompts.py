"""Published prompts: texts that every user's conversation may begin with, read by the engine once for all of them.

Only what an operator has published is shared, since how fast an answer begins tells whether its beginning was read
before; nobody may learn that way what another person asked. So a prompt lies in the vault, where nobody without the
box's keys can put one, and the log names it by its hash. A ``system`` prompt is the whole text of the system message; a
``document`` is what a first user message begins with.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from .. import strictjson
from ..audit import Event
from ..clock import stamp
from ..errors import NotFound, UsageError
from .box import Box
from .purposes import PROMPT

FORMAT: Final = "lumen-box/prompt/v1"
MAX_PROMPTS: Final = 64
MAX_TEXT: Final = 256 * 1024  # bytes of one prompt in UTF-8
MAX_ALL: Final = 3 * 1024 * 1024  # bytes of all of them: the engine takes 4 MiB with what templates add
MAX_NAME: Final = 64
_LONGEST_ESCAPE: Final = 6  # bytes that one byte of UTF-8 may become in JSON
_NAME: Final = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{MAX_NAME - 1}}}")

Kind = Literal["system", "document"]


@dataclass(frozen=True)
class Prompt:
    """One published text."""

    name: str
    kind: Kind
    text: str
    published_at: str

    @property
    def sha256(self) -> str:
        """What the log calls the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def conversation(self, question: str) -> list[dict[str, str]]:
        """The messages of somebody who uses this prompt to ask ``question``."""
        if self.kind == "document":
            return [{"role": "user", "content": self.text + question}]
        return [{"role": "system", "content": self.text}, {"role": "user", "content": question}]


def publish(box: Box, name: str, kind: Kind, text: str, actor: str) -> Prompt:
    """Keeps ``text`` under ``name``, in place of what had that name.

    Raises:
        UsageError: name, kind or text is not acceptable, or there would be too many.
        Sealed: the box has no keys at hand.
    """
    _check(name, kind, text)
    prompt = Prompt(name, kind, text, stamp(box.clock.now()))
    act = box.audit.act(Event.PROMPT_PUBLISHED, actor, name=name, kind=kind, sha256=prompt.sha256)
    with act, box.keyring_change(actor) as change:
        _refuse_too_many([prompt, *(other for other in listing(box) if other.name != name)])
        change.put(PROMPT, name, _encoded(prompt))
    return prompt


def withdraw(box: Box, name: str, actor: str) -> Prompt:
    """Forgets the prompt of that name, and returns what it was; ``NotFound`` if there is none."""
    prompt = get(box, name)
    act = box.audit.act(Event.PROMPT_WITHDRAWN, actor, name=prompt.name, sha256=prompt.sha256)
    with act, box.keyring_change(actor) as change:
        change.delete(PROMPT, prompt.name)
    return prompt


def get(box: Box, name: str) -> Prompt:
    """The prompt of that name; ``NotFound`` if there is none."""
    data = box.vault.get_or_none(PROMPT, name) if _NAME.fullmatch(name) else None
    if data is None:
        raise NotFound(
            f"There is no published prompt {name[:MAX_NAME]!r}.",
            kept="Nothing was changed.",
            then="`lumen-box prompt list` shows them.",
        )
    return _decoded(name, data)


def listing(box: Box) -> list[Prompt]:
    """Every published prompt, by name."""
    return [get(box, name) for name in box.vault.ids(PROMPT)]


def _check(name: str, kind: str, text: str) -> None:
    if not _NAME.fullmatch(name):
        raise _refused(f"A prompt's name has 1 to {MAX_NAME} of a-z, 0-9, '.', '_' and '-', a letter or digit first.")
    if kind not in get_args(Kind):
        raise _refused(f"A prompt is a {' or a '.join(get_args(Kind))}.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise _refused("The text of a prompt must be Unicode; this one holds half a character.") from None
    if size > MAX_TEXT:
        raise _refused(f"The text has {size} bytes; a prompt has at most {MAX_TEXT}.")
    if not text.strip():
        raise _refused("The text is empty.")


def _refuse_too_many(prompts: list[Prompt]) -> None:
    size = sum(len(prompt.text.encode()) for prompt in prompts)
    if len(prompts) > MAX_PROMPTS or size > MAX_ALL:
        raise UsageError(
            f"There would be {len(prompts)} prompts with {size} bytes; a box has at most {MAX_PROMPTS} with {MAX_ALL}.",
            kept="Nothing was published.",
            then="Remove one first: `lumen-box prompt list` shows them.",
        )


def _refused(what: str) -> UsageError:
    return UsageError(what, kept="Nothing was published.")


def _encoded(prompt: Prompt) -> bytes:
    return strictjson.dumps(
        {"format": FORMAT, "kind": prompt.kind, "published_at": prompt.published_at, "text": prompt.text}
    )


def _decoded(name: str, data: bytes) -> Prompt:
    what = f"The published prompt {name}"
    fields = strictjson.Fields(strictjson.loads(data, what=what, max_bytes=MAX_TEXT * _LONGEST_ESCAPE + 1024), what)
    fields.one_of("format", [FORMAT])
    kind = fields.one_of("kind", get_args(Kind))
    prompt = Prompt(name, cast(Kind, kind), fields.take("text", str), fields.text("published_at"))
    fields.end()
    return prompt
