"""What a grammar allows next, byte for byte: a pushdown automaton that is built while it is used. Pure.

A *stack* is what must still be read, the nearest on top. Where a grammar leaves several ways open there are several
stacks, and a *state* is the set of them. Stacks share their lower parts (*cells*), states have numbers, and what
follows from a state is worked out once, as a row of 256 numbers: inside a string, say, a token costs a few look-ups.

It works on bytes, not on characters, because tokens do: half a character is a state like any other, and what is no
UTF-8 has no next state at all.

A stranger wrote the grammar, so everything is counted. A grammar that leaves too many ways open at once, or takes too
much work between two tokens, ends in :class:`TooAmbiguous`; old states are forgotten when there are many.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from .gbnf import Alternative, Chars, Grammar, Item, Ref, Repeat
from .utf8 import spellings

DEAD: Final = 0  # the state without a way on
MAX_STACKS: Final = 512  # ways that may be open at once
MAX_WORK: Final = 100_000  # small steps between two tokens, some 50 ms
KEPT_STATES: Final = 1024  # when there are more, those of the past are forgotten
MAX_STATES: Final = 8192  # that one look at a vocabulary may find
MAX_CELLS: Final = 50_000
_EMPTY: Final = 0  # the cell below all others: nothing more is wanted

Table = npt.NDArray[np.int32]


class TooAmbiguous(Exception):
    """The grammar leaves more ways open than can be followed."""


class _Node:
    """One item in its place: what it is, and the node after it. As bytes: arcs (low, high, node after that byte; None
    where the item is whole)."""

    __slots__ = ("alternatives", "arcs", "body", "following", "least", "most")

    def __init__(self, following: _Node | None) -> None:
        self.following = following
        self.arcs: tuple[tuple[int, int, _Node | None], ...] | None = None
        self.alternatives: list[_Node | None] | None = None  # of a rule
        self.body: _Node | None = None  # of a repetition
        self.least, self.most = 0, 0


_Frame = tuple[_Node, int]  # a node, and how often a repetition has been done
_Cell = tuple[_Frame, int]  # what is on top, and the cell below


class Automaton:
    """Follows one answer through one grammar. :attr:`start` is the first state.

    Raises:
        TooAmbiguous: from any method that looks ahead.
    """

    def __init__(self, grammar: Grammar) -> None:
        self._alternatives = _program(grammar)
        self._forget()
        self._work = 0
        root = _Node(None)
        root.alternatives = self._alternatives[grammar.root]
        self.start = self._state(self._ready(self._cell((root, 0), _EMPTY)))

    def _forget(self) -> None:
        self._cells: list[_Cell | None] = [None]
        self._cell_ids: dict[_Cell, int] = {}
        self._ready_of: dict[int, frozenset[int]] = {}
        self._states: list[frozenset[int]] = [frozenset()]
        self._state_ids: dict[frozenset[int], int] = {frozenset(): DEAD}
        self._table: Table = np.zeros((64, 256), np.int32)
        self._known = [True]

    # ---- what users ask ----

    def after(self, state: int, data: bytes) -> int:
        """The state after these bytes; ``DEAD`` where the grammar does not take them."""
        for byte in data:
            if state == DEAD:
                return DEAD
            state = int(self.row(state)[byte])
        return state

    def row(self, state: int) -> Table:
        """The states after each of the 256 bytes."""
        if not self._known[state]:
            self._fill(state)
        found: Table = self._table[state]
        return found

    def table(self, states: Table) -> Table:
        """All rows, of which those of ``states`` are filled in."""
        for state in np.flatnonzero(np.bincount(states)):
            self.row(int(state))
        return self._table

    def final(self, state: int) -> bool:
        """Whether what was read is a whole answer."""
        return _EMPTY in self._states[state]

    def exhausted(self, state: int) -> bool:
        """Whether nothing more can follow."""
        return all(cell == _EMPTY for cell in self._states[state])

    def rest(self, state: int) -> tuple[int, bool]:
        """To be called after each token: the work begins anew, and where the past has become large it is forgotten.

        Returns:
            The state's number from now on, and whether others have lost theirs.
        """
        self._work = 0
        if len(self._states) <= KEPT_STATES and len(self._cells) <= MAX_CELLS:
            return state, False
        stacks = [list(self._frames(cell)) for cell in self._states[state]]
        self._forget()
        return self._state(frozenset(self._stacked(stack) for stack in stacks)), True

    # ---- cells and states ----

    def _cell(self, frame: _Frame, below: int) -> int:
        cell = (frame, below)
        number = self._cell_ids.get(cell)
        if number is None:
            number = self._cell_ids[cell] = len(self._cells)
            self._cells.append(cell)
        return number

    def _push(self, node: _Node | None, below: int) -> int:
        return below if node is None else self._cell((node, 0), below)

    def _frames(self, cell: int) -> Iterator[_Frame]:
        """From the top down."""
        while (content := self._cells[cell]) is not None:
            yield content[0]
            cell = content[1]

    def _stacked(self, frames: list[_Frame]) -> int:
        cell = _EMPTY
        for frame in reversed(frames):
            self._spend(1)
            cell = self._cell(frame, cell)
        return cell

    def _state(self, stacks: frozenset[int]) -> int:
        number = self._state_ids.get(stacks)
        if number is not None:
            return number
        if len(stacks) > MAX_STACKS or len(self._states) >= MAX_STATES:
            raise TooAmbiguous
        number = self._state_ids[stacks] = len(self._states)
        self._states.append(stacks)
        self._known.append(False)
        if number >= len(self._table):
            self._table = np.concatenate([self._table, np.zeros_like(self._table)])
        return number

    def _spend(self, work: int) -> None:
        self._work += work
        if self._work > MAX_WORK:
            raise TooAmbiguous

    # ---- the automaton itself ----

    def _ready(self, cell: int) -> frozenset[int]:
        """The stacks with bytes on top that ``cell`` stands for, and the empty one where it may be read to its end."""
        if cell not in self._ready_of:
            seen, found = {cell}, set()
            todo = [cell]
            while todo:
                self._spend(1)
                number = todo.pop()
                content = self._cells[number]
                if content is None or content[0][0].arcs is not None:
                    found.add(number)
                    continue
                fresh = [one for one in self._opened(*content) if one not in seen]
                seen.update(fresh)
                todo += fresh
            self._ready_of[cell] = frozenset(found)
        return self._ready_of[cell]

    def _opened(self, frame: _Frame, below: int) -> Iterator[int]:
        """What a rule or repetition on top of a stack may be replaced by."""
        node, done = frame
        after = self._push(node.following, below)
        if node.alternatives is not None:
            for first in node.alternatives:
                self._spend(1)
                yield self._push(first, after)
            return
        if done >= node.least:
            yield after
        if node.most < 0:
            yield self._push(node.body, self._cell((node, min(done + 1, node.least)), below))
        elif done < node.most:
            yield self._push(node.body, self._cell((node, done + 1), below))

    def _fill(self, state: int) -> None:
        """Works out the row of a state: the same for all bytes between two borders of the arcs."""
        arcs = list(self._arcs(state))
        borders = sorted({border for low, high, _ in arcs for border in (low, high + 1)})
        for low, end in itertools.pairwise(borders):
            self._spend(1 + len(arcs) // 8)
            cells = {cell for first, last, cell in arcs if first <= low <= last}
            following = frozenset().union(*(self._ready(cell) for cell in cells))
            number = self._state(following)
            self._table[state, low:end] = number
        self._known[state] = True

    def _arcs(self, state: int) -> Iterator[tuple[int, int, int]]:
        """(first byte, last byte, the stack after it)."""
        for cell in self._states[state]:
            content = self._cells[cell]
            if content is None:
                continue
            (node, _), below = content
            for low, high, inner in node.arcs or ():
                yield low, high, self._push(node.following if inner is None else inner, below)


def _program(grammar: Grammar) -> list[list[_Node | None]]:
    """The first node of every alternative of every rule; None for an empty one."""
    rules: list[list[_Node | None]] = [[] for _ in grammar.rules]
    for rule, alternatives in zip(rules, grammar.rules, strict=True):
        rule += [_chain(alternative, rules) for alternative in alternatives]
    return rules


def _chain(alternative: Alternative, rules: list[list[_Node | None]]) -> _Node | None:
    first: _Node | None = None
    for item in reversed(alternative):
        first = _node(item, first, rules)
    return first


def _node(item: Item, following: _Node | None, rules: list[list[_Node | None]]) -> _Node:
    node = _Node(following)
    match item:
        case Chars(ranges):
            found = [_arc(spelling, following) for low, high in ranges for spelling in spellings(low, high)]
            node.arcs = tuple(found)
        case Ref(rule):
            node.alternatives = rules[rule]
        case Repeat(inner, least, most):
            node.body = _node(inner, None, rules)
            node.least, node.most = least, -1 if most is None else most
    return node


def _arc(spelling: tuple[tuple[int, int], ...], following: _Node | None) -> tuple[int, int, _Node | None]:
    (low, high), *later = spelling
    if not later:
        return low, high, None
    node = _Node(following)
    node.arcs = (_arc(tuple(later), following),)
    return low, high, node
