"""A grammar for the answer of a model that thinks first: what stands between its markers is free. Pure.

The reasoning becomes part of the grammar, as rules that look for the closing marker (the automaton of Knuth, Morris
and Pratt). So there is one automaton from the first token to the last, and a token that holds the marker's end and
something after it is taken only if the answer may begin like that.
"""

from __future__ import annotations

from typing import Final

from .gbnf import ANY, Alternative, Chars, Grammar, Ref, Repeat, Rule, chars, literal

GAP: Final = 8  # characters of white space between the closing marker and the answer
_SPACE: Final = Repeat(chars(*((ord(letter), ord(letter)) for letter in " \t\r\n")), 0, GAP)


def after_reasoning(grammar: Grammar, markers: tuple[str, str], *, inside: bool) -> Grammar:
    """``grammar`` for what comes after the reasoning. ``inside``: the prompt has opened it; otherwise the model may."""
    opening, closing = markers
    rules = list(grammar.rules)
    first = len(rules)
    done = first + len(closing)  # the rule after the whole marker
    rules += [_looking(closing, found, first) for found in range(len(closing))]
    rules.append(((_SPACE, Ref(grammar.root)),))
    root: Rule = ((Ref(first),),) if inside else ((Ref(grammar.root),), (*literal(opening), Ref(first)))
    rules.append(root)
    return Grammar(tuple(rules), done + 1)


def _looking(closing: str, found: int, first: int) -> Rule:
    """What may come when the last characters were the first ``found`` of the marker, and no more of it."""
    letters = sorted(set(closing))
    others = chars(*((ord(letter), ord(letter)) for letter in letters), but=True)
    ways: list[Alternative] = [(others, Ref(first))] if others != ANY else []
    for letter in letters:
        seen = closing[:found] + letter
        kept = max(size for size in range(min(len(seen), len(closing)) + 1) if seen.endswith(closing[:size]))
        ways.append((Chars(((ord(letter), ord(letter)),)), Ref(first + kept)))
    return tuple(ways)
