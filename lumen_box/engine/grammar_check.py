"""Whether a grammar is sound: no rule without an end, and none that calls itself before it has read anything. Pure.

llama.cpp looks for the second only where a rule is empty by its own words; a rule that is empty because another one is
gets past it, and the first look at such a grammar then never ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from .gbnf import Alternative, Chars, Grammar, GrammarError, Item, Ref, Repeat


def check(grammar: Grammar, names: Mapping[int, str]) -> None:
    """Raises ``GrammarError``; ``names`` are those of the rules that have one."""
    ending = _closed(grammar, _can_end)
    for number in range(len(grammar.rules)):
        if number not in ending:
            raise GrammarError(f"{_name(number, names)} never comes to an end")
    empty = _closed(grammar, _can_be_empty)
    edges = [sorted(set(_first_rules(rule, empty))) for rule in grammar.rules]
    found = _on_a_cycle(edges)
    if found is not None:
        raise GrammarError(f"{_name(found, names)} calls itself before it has read anything (left recursion)")


def _name(number: int, names: Mapping[int, str]) -> str:
    return f"the rule `{names[number][:40]}`" if number in names else "a group"


def _closed(grammar: Grammar, holds: Callable[[Item, set[int]], bool]) -> set[int]:
    """The rules of which one alternative consists of nothing but items for which ``holds``: the least such set.

    A rule is looked at again only when one that it mentions has been added.
    """
    users: dict[int, set[int]] = {}
    for number, rule in enumerate(grammar.rules):
        for used in _mentioned(rule):
            users.setdefault(used, set()).add(number)
    found: set[int] = set()
    todo = list(range(len(grammar.rules)))
    while todo:
        number = todo.pop()
        if number not in found and any(all(holds(item, found) for item in one) for one in grammar.rules[number]):
            found.add(number)
            todo += users.get(number, ())
    return found


def _can_end(item: Item, ending: set[int]) -> bool:
    while isinstance(item, Repeat):
        if item.least == 0:
            return True
        item = item.item
    return bool(item.ranges) if isinstance(item, Chars) else item.rule in ending


def _can_be_empty(item: Item, empty: set[int]) -> bool:
    while isinstance(item, Repeat):
        if item.least == 0:
            return True
        item = item.item
    return isinstance(item, Ref) and item.rule in empty


def _mentioned(rule: Iterable[Alternative]) -> Iterator[int]:
    for alternative in rule:
        for item in alternative:
            inner = _inner(item)
            if isinstance(inner, Ref):
                yield inner.rule


def _inner(item: Item) -> Chars | Ref:
    while isinstance(item, Repeat):
        item = item.item
    return item


def _first_rules(rule: Iterable[Alternative], empty: set[int]) -> Iterator[int]:
    """The rules that may be called before anything is read."""
    for alternative in rule:
        for item in alternative:
            inner = _inner(item)
            if isinstance(inner, Ref):
                yield inner.rule
            if not _can_be_empty(item, empty):
                break


def _on_a_cycle(edges: list[list[int]]) -> int | None:
    """A node on a cycle, if there is one: nodes without an edge to what is left go, until none does."""
    users: dict[int, list[int]] = {}
    for node, targets in enumerate(edges):
        for target in targets:
            users.setdefault(target, []).append(node)
    left = [len(targets) for targets in edges]
    todo = [node for node, count in enumerate(left) if not count]
    while todo:
        for user in users.get(todo.pop(), ()):
            left[user] -= 1
            if not left[user]:
                todo.append(user)
    at = next((node for node, count in enumerate(left) if count), None)
    passed: set[int] = set()
    while at is not None and at not in passed:  # from any node that is left, edges among those lead onto a cycle
        passed.add(at)
        at = next(target for target in edges[at] if left[target])
    return at
