"""What the gateway needs from the rest of the box, as protocols: the use cases implement them.

Nothing here knows HTTP, and no route knows more of the box than this.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

from ..clock import Clock
from ..config import Settings
from ..engine.imitation import Rendered
from ..engine.protocol import Accepted, Embed, Embedded, Finished, Generate, Queued
from ..engine.protocol import Tokens as TokenNews
from ..errors import LumenError
from ..schemas.metrics import Sample
from ..schemas.models import ModelCard

News = Accepted | Queued | TokenNews | Embedded | Finished
State = Literal["ready", "sealed", "no_model", "loading", "stopping"]


class Answering(Protocol):
    """One request in the engine: its news, in the order ``Accepted``, ``Queued``…, ``Tokens``… or ``Embedded``…,
    ``Finished``.

    Iterating raises ``TooLong``, ``Busy`` or ``UsageError`` where the engine refuses it, ``NoModel`` where it is lost.
    """

    def __aiter__(self) -> AsyncIterator[News]: ...

    def cancel(self) -> None:
        """The engine stops within one step; nothing happens where it has ended already."""
        ...


class EmbeddingModel(Protocol):
    """One model that turns texts into vectors of ``width`` numbers."""

    @property
    def card(self) -> ModelCard: ...

    @property
    def width(self) -> int: ...

    def embed(self, request: Embed) -> Answering:
        """Asks the engine. Raises ``NoModel`` while there is none to ask."""
        ...


class Grammars(Protocol):
    """Both give GBNF with the start rule ``root``, or raise ``GrammarRefused``."""

    async def of_schema(self, schema: Mapping[str, Any], owner: str) -> str: ...
    async def of_text(self, grammar: str, owner: str) -> str: ...


class ActiveModel(Protocol):
    """One model that is ready to answer."""

    @property
    def card(self) -> ModelCard: ...

    @property
    def grammars(self) -> Grammars:
        """Where grammars are tried out before the engine is given them."""
        ...

    async def render(self, messages: Sequence[dict[str, str]]) -> Rendered:
        """The prompt of a conversation by the model's own template. Raises ``LumenError`` where that fails."""
        ...

    async def count(self, prompt: Rendered) -> int:
        """How many tokens the engine reads for ``prompt``."""
        ...

    def submit(self, request: Generate) -> Answering:
        """Asks the engine. Raises ``NoModel`` while there is none to ask."""
        ...


class Models(Protocol):
    def places(self) -> int:
        """How many requests the loaded models work on at once; at least one."""
        ...

    def listing(self) -> list[ModelCard]: ...

    async def card(self, name: str) -> ModelCard:
        """What :meth:`listing` says of the model of that name, whatever it is for. Raises as :meth:`get`."""
        ...

    async def get(self, name: str | None) -> ActiveModel:
        """The model of that name, or the default one for chat. Raises ``NotFound``, ``NoModel``, ``Sealed``, and
        ``UsageError`` for one that does not write."""
        ...

    async def embedder(self, name: str | None) -> EmbeddingModel:
        """The embedding model of that name, or the default one. Raises as :meth:`get`, and ``UsageError`` for one
        that writes."""
        ...

    def forget(self, owner: str) -> None:
        """Wipes what any engine keeps of the ended answers of ``Generate.owner``."""
        ...


class KnownToken(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def scopes(self) -> frozenset[str]: ...


class Tokens(Protocol):
    def authenticate(self, text: str) -> KnownToken:
        """The token that ``text`` is; ``Unauthenticated`` if it is none, expired or revoked."""
        ...

    def still_valid(self, identity: str) -> bool: ...


class Box(Protocol):
    @property
    def settings(self) -> Settings: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def tokens(self) -> Tokens: ...
    @property
    def models(self) -> Models: ...
    @property
    def sealed(self) -> bool: ...

    def refused(self, error: LumenError, who: str) -> None:
        """Remembers that ``who`` was turned away: in the log, as far as one stranger cannot fill it."""
        ...

    def state(self) -> State:
        """Whether a question asked now would be answered, and if not, why."""
        ...

    def progress(self) -> int:
        """Per cent of what is being loaded."""
        ...

    def samples(self) -> Iterable[Sample]:
        """What the engines say about themselves: restarts, sequences, memory."""
        ...
