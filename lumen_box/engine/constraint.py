"""One answer under a grammar: which tokens may come next. NumPy, no llama.cpp.

Whether one token fits is a few look-ups. Which of a whole vocabulary do is found for all tokens at once, column by
column of their bytes; tokens that no longer fit drop out, so that where a grammar wants one certain word it costs
next to nothing. Inside a string nearly all fit, and the answer is kept for the next time.

A token without visible text (a control token) never fits: what it would add to the answer is nothing that a grammar
could speak about. Tokens that end an answer fit where the answer is whole.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from .gbnf import Grammar
from .grammar import DEAD, Automaton

KEPT_LISTS: Final = 8  # lists of tokens that one answer keeps
Ids = npt.NDArray[np.int32]


class Vocabulary:
    """The bytes of every token, end to end. ``pieces`` holds b"" for a token without visible text."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces
        lengths = np.fromiter((len(piece) for piece in pieces), np.int64, len(pieces))
        self._starts = np.cumsum(lengths) - lengths
        self._lengths = lengths
        self._bytes = np.frombuffer(b"".join(pieces), np.uint8)
        self._visible = np.flatnonzero(lengths)

    def fitting(self, automaton: Automaton, state: int) -> Ids:
        """The visible tokens that the automaton takes in ``state``, in order."""
        tokens = self._visible
        states = np.full(len(tokens), state, np.int32)
        found = []
        column = 0
        while len(tokens):
            table = automaton.table(states)
            states = table[states, self._bytes[self._starts[tokens] + column]]
            column += 1
            whole = self._lengths[tokens] == column
            found.append(tokens[whole & (states != DEAD)])
            going = ~whole & (states != DEAD)
            tokens, states = tokens[going], states[going]
        return np.sort(np.concatenate(found)).astype(np.int32) if found else np.empty(0, np.int32)


class Constraint:
    """Where one answer stands in its grammar. Belongs to one thread at a time.

    Args:
        ending: tokens that end an answer.

    Raises:
        TooAmbiguous: from every method.
    """

    def __init__(self, grammar: Grammar, vocabulary: Vocabulary, ending: Collection[int]) -> None:
        self._automaton, self._vocabulary = Automaton(grammar), vocabulary
        self._ending = frozenset(token for token in ending if 0 <= token < len(vocabulary.pieces))
        self._state = self._automaton.start
        self._lists: OrderedDict[int, Ids] = OrderedDict()

    @property
    def complete(self) -> bool:
        """The answer is whole and nothing can follow."""
        return self._automaton.exhausted(self._state)

    def takes(self, token: int) -> bool:
        """Whether ``token`` may come next."""
        if token in self._ending:
            return self._automaton.final(self._state)
        piece = self._vocabulary.pieces[token]
        return bool(piece) and self._automaton.after(self._state, piece) != DEAD

    def fitting(self) -> Ids:
        """All tokens that may come next. None do where the vocabulary cannot spell what the grammar wants."""
        found = self._lists.get(self._state)
        if found is None:
            found = self._vocabulary.fitting(self._automaton, self._state)
            ends = self._automaton.final(self._state)
            allowed = np.fromiter(sorted(self._ending), np.int32) if ends else np.empty(0, np.int32)
            found = np.concatenate([found[~np.isin(found, list(self._ending))], allowed])
            self._lists[self._state] = found
            if len(self._lists) > KEPT_LISTS:
                self._lists.popitem(last=False)
        else:
            self._lists.move_to_end(self._state)
        return found

    def accept(self, token: int) -> None:
        """``token``, which fits, comes next; one that ends the answer changes nothing."""
        if token in self._ending:
            return
        state = self._automaton.after(self._state, self._vocabulary.pieces[token])
        self._state, renumbered = self._automaton.rest(state)
        if renumbered:
            self._lists.clear()
