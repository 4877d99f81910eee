"""Drawing tokens under a grammar: first as if there were none, and once more where the grammar does not take the token.

So a model that writes what is wanted anyway costs a few look-ups a token, and only where it strays are the tokens
that fit looked for. The second draw is among those alone, by the same chain and from the same random numbers: which
numbers an answer uses depends on nothing but the answer. Penalties count only what was really said.

llama.cpp has grammars of its own; why they are not used is in ``docs/decisions/0010-grammars.md``.
"""

from __future__ import annotations

import ctypes
from typing import Final

import llama_cpp.llama_cpp as lib
import numpy as np

from .constraint import Constraint, Ids
from .grammar import TooAmbiguous
from .llama import Context, Floats, SamplerChain

_DATA: Final = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])  # llama_token_data


class Unanswerable(Exception):
    """The grammar cannot be followed any further; the text is a sentence."""


class ConstrainedSampler:
    """A sampler chain and a constraint, in the place of the chain; owns the chain."""

    def __init__(self, chain: SamplerChain, constraint: Constraint) -> None:
        self._chain, self._constraint = chain, constraint

    @property
    def complete(self) -> bool:
        """The answer is whole, and nothing may follow."""
        return self._constraint.complete

    def sample(self, context: Context, row: int) -> int:
        """The next token after ``row`` of the last step, remembered by the chain and the constraint.

        Raises:
            Unanswerable: no token fits, or the grammar leaves too many ways open.
        """
        try:
            token = self._draw(context.logits(row))
            self._constraint.accept(token)
        except TooAmbiguous:
            raise Unanswerable("The grammar leaves more ways open at once than can be followed.") from None
        lib.llama_sampler_accept(self._chain.handle, token)
        return token

    def _draw(self, logits: Floats) -> int:
        token = self._drawn(np.arange(len(logits), dtype=np.int32), logits)
        if self._constraint.takes(token):
            return token
        fitting = self._constraint.fitting()
        if not len(fitting):
            raise Unanswerable("The model has no token for what the grammar asks for next.")
        return self._drawn(fitting, logits[fitting])

    def _drawn(self, ids: Ids, logits: Floats) -> int:
        """One of ``ids``, by the chain; ``logits`` are theirs."""
        data = np.empty(len(ids), _DATA)
        data["id"], data["logit"], data["p"] = ids, logits, 0
        candidates = lib.llama_token_data_array(
            data=data.ctypes.data_as(lib.llama_token_data_p), size=len(ids), selected=-1, sorted=False
        )
        lib.llama_sampler_apply(self._chain.handle, ctypes.byref(candidates))
        return int(candidates.data[candidates.selected].id)

    def close(self) -> None:
        self._chain.close()
