"""Where requests come in for an embedding model: the same desk, with texts instead of a prompt."""

from __future__ import annotations

from ..errors import LumenError
from .desk import Desk
from .embedding import Embedding, check_inputs, input_tokens
from .protocol import Embed, Generate, Refused


class EmbeddingDesk(Desk):
    """Prepares ``Embed`` and refuses ``Generate``."""

    def _prepared(self, request: Generate | Embed) -> Embedding | Refused:
        if isinstance(request, Generate):
            return Refused(request.id, "usage", "This model embeds texts; it does not write.", "Ask another model.")
        facts = self._loaded.facts
        try:
            check_inputs(request, facts.embedding)
            return Embedding(request, input_tokens(self._loaded.model, request, facts.context))
        except LumenError as error:
            return Refused(request.id, error.code, error.what, error.then)
