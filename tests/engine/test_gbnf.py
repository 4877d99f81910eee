"""Grammars in GBNF: which are taken, which are not and why, and what they take, against llama.cpp's own reading."""

from __future__ import annotations

import codecs
import ctypes
import random
import time
from pathlib import Path

import llama_cpp
import numpy as np
import pytest
from llama_cpp import llama_cpp as lib

from lumen_box.engine import utf8
from lumen_box.engine.constraint import Constraint, Vocabulary
from lumen_box.engine.gbnf import GrammarError, parse
from lumen_box.engine.grammar import DEAD, KEPT_STATES, Automaton, TooAmbiguous

JSON = r"""
# from llama.cpp's own notation, written anew
root ::= object
value ::= object | array | string | number | ("true" | "false"
  | "null")
object ::= "{" gap (string ":" gap value ("," gap string ":" gap value)*)? gap "}"
array ::= "[" gap ( value ("," gap value)* )? gap "]"
string ::= "\"" ([^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt/] | "u" [0-9a-fA-F]{4}))* "\""
number ::= "-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]+)? ([eE] [-+]? [0-9]{1,3})?
gap ::= " "?
"""


def takes(grammar: str, text: str | bytes) -> bool:
    automaton = Automaton(parse(grammar))
    data = text.encode() if isinstance(text, str) else text
    return automaton.final(automaton.after(automaton.start, data))


@pytest.mark.parametrize(
    ("grammar", "taken", "not_taken"),
    [
        ('root ::= "ab" | "c"', ["ab", "c"], ["", "a", "abc"]),
        ('root ::= "ab"*', ["", "ab", "abab"], ["a", "aba"]),
        ('root ::= "a" "b"+ "c"?', ["ab", "abbc"], ["a", "ac", "abcc"]),
        ("root ::= [a-c]{2}", ["ab", "cc"], ["a", "abc", "ad"]),
        ("root ::= [a-c]{2,}", ["ab", "abcabc"], ["a"]),
        ("root ::= [a-c]{1,3}", ["a", "abc"], ["", "abca"]),
        ("root ::= [a-c]{0}", [""], ["a"]),
        ("root ::= ([a]?){2,3}", ["", "aaa"], ["aaaa"]),
        ("root ::= ([a]*)*", ["", "aaaa"], ["b"]),
        (r"root ::= [^a\]\-\n]", ["b", "é", "🎉"], ["a", "]", "-", "\n", "bb", "\0"]),
        (r'root ::= "\x41\u00e9\U0001F389\t\"\\"', ['Aé🎉\t"\\'], ["A"]),
        ("root ::= [а-яё]+ .", ["ёж!", "ёжы"], ["ё"]),
        ("root ::= (\n  [a-] # a minus at the end is itself\n)\r\n\n", ["a", "-"], ["b"]),
        ('root ::= x\nx ::= "(" x ")" |', ["", "(())"], ["(()", ")"]),
        ("root ::= [^x]", [], [b"\xc0\xa2", b"\xed\xa0\x80", b"\xe0\x80\xa2", b"\xf5\x80\x80\x80", b"\xc3\x22"]),
        (JSON, ['{}', '{"a": [1.5e-3, {"é": null}]}'], ['{"a"}', "[1]", '{"a": 01}', '{"a": "\n"}']),
        (JSON, [], [b'{"\xc3\x22": 1}']),
    ],
)  # fmt: skip
def test_what_a_grammar_takes(grammar: str, taken: list[str], not_taken: list[str | bytes]) -> None:
    assert [text for text in taken if not takes(grammar, text)] == []
    assert [text for text in not_taken if takes(grammar, text)] == []


CHAIN = "\n".join(f"r{n} ::= r{n + 1}" for n in range(10_000))


@pytest.mark.parametrize(
    ("grammar", "why"),
    [
        ("", "no rule `root`"),
        ('rot ::= "a"', "no rule `root`"),
        ("root ::= a", "`a` is not defined"),
        ('root ::= "a"\nroot ::= "b"', "defined twice"),
        ("root = [a]", "`::=` is expected at line 1, column 6"),
        ('root ::= "a', "ends too early"),
        ("root ::= [a", "ends too early"),
        ('root ::= ("a"', r"`\)` is expected"),
        ('root ::= "a")', "end of a rule"),
        ("root ::= *", "nothing to repeat"),
        ("root ::= []", "holds no character"),
        ("root ::= [z-a]", "ends before it begins"),
        (r'root ::= "\q"', "escape"),
        (r'root ::= "\x4"', "2 hexadecimal digits"),
        (r'root ::= "\ud800"', "no character"),
        (r'root ::= "\U00110000"', "no character"),
        (r"root ::= [\x00]", "never comes to an end"),
        ('root ::= "a"{1000000}', "more than 100000 times"),
        ('root ::= "a"{99999999999}', "cannot be read"),
        ('root ::= "a"{2,1}', "maximum below its minimum"),
        ("root ::= <[5]>", "tokens are not supported"),
        ("root ::= !<think>", "tokens are not supported"),
        ('root ::= root "a" | "b"', "`root` calls itself"),
        ('root ::= "x" a\na ::= b c a | "y"\nb ::= "z"?\nc ::= b', "`a` calls itself"),
        ('root ::= (a? root)? "x"\na ::= "y"', "left recursion"),
        ('root ::= "a" root', "never comes to an end"),
        ("root ::= " + "(" * 65 + '"a"' + ")" * 65, "nested more than 64 deep"),
        ("root ::= " + "(" * 10_000 + '"a"' + ")" * 10_000, "nested more than 64 deep"),
        (f'root ::= r0\n{CHAIN}\nr10000 ::= "a"', "more than"),
        ("root ::= " + '("a")' * 3000, "more than 2048 rules and groups"),
        ('root ::= "' + "a" * 1_000_000 + '"', "more than 131072 bytes"),
    ],
)
def test_a_grammar_that_is_not_sound_is_refused_at_once(grammar: str, why: str) -> None:
    began = time.process_time()
    with pytest.raises(GrammarError, match=why):
        parse(grammar)
    assert time.process_time() - began < 5  # of minutes that it could take


@pytest.mark.parametrize(
    ("low", "high"), [(1, 0x10FFFF), (0x22, 0x22), (0x7F, 0x800), (0xD000, 0xF000), (0x3FF, 0x12345)]
)
def test_utf_8_spells_a_range_exactly_once(low: int, high: int) -> None:
    spellings = list(utf8.spellings(low, high))
    borders = {1, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF}
    near = {one + step for one in borders | {low, high} for step in (-1, 0, 1)}
    for code in (one for one in near if 0 < one <= 0x10FFFF and not 0xD800 <= one <= 0xDFFF):
        data = chr(code).encode()
        fitting = [
            one for one in spellings
            if len(one) == len(data) and all(a <= byte <= z for (a, z), byte in zip(one, data, strict=True))
        ]  # fmt: skip
        assert len(fitting) == (low <= code <= high), hex(code)


def test_repetitions_of_repetitions_take_no_stack() -> None:
    assert takes('root ::= "a"' + "?" * 1500, "a")
    assert takes('root ::= "a"' + "{1}" * 1500 + "*", "aaa")
    with pytest.raises(GrammarError, match="more than 2048 rules"):
        parse('root ::= "a"' + "{2}" * 3000)


def test_too_many_open_ways_are_given_up() -> None:
    automaton = Automaton(parse('root ::= s\ns ::= "x" s p | "x" s q | "x"\np ::= "a"?\nq ::= "b"?'))
    state = automaton.start
    with pytest.raises(TooAmbiguous):
        for _ in range(40):
            state, _ = automaton.rest(automaton.after(state, b"x"))


def test_a_long_answer_forgets_old_states_and_goes_on() -> None:
    automaton = Automaton(parse('root ::= "[" [a-z]{0,9000} "]"'))
    state, forgotten = automaton.after(automaton.start, b"["), 0
    for _ in range(9000):
        state, renumbered = automaton.rest(automaton.after(state, b"a"))
        forgotten += renumbered
    assert forgotten >= 9000 // KEPT_STATES - 1
    assert automaton.after(state, b"a") == DEAD
    assert automaton.final(automaton.after(state, b"]"))


class Peer:
    """llama.cpp's own grammar over the same vocabulary: which tokens it lets through."""

    def __init__(self, model: llama_cpp.Llama, grammar: str) -> None:
        self._size = model.n_vocab()
        vocabulary = lib.llama_model_get_vocab(model._model.model)
        self._sampler = lib.llama_sampler_init_grammar(vocabulary, grammar.encode(), b"root")

    def fitting(self) -> set[int]:
        data = (lib.llama_token_data * self._size)(*((token, 0.0, 0.0) for token in range(self._size)))
        array = lib.llama_token_data_array(data=data, size=self._size, selected=-1, sorted=False)
        lib.llama_sampler_apply(self._sampler, ctypes.byref(array))
        return {one.id for one in data if one.logit > float("-inf")}

    def accept(self, token: int) -> None:
        lib.llama_sampler_accept(self._sampler, token)

    def close(self) -> None:
        lib.llama_sampler_free(self._sampler)


@pytest.mark.parametrize(
    "grammar",
    [
        JSON,
        'root ::= ("é" | "你" [a-z]* | [а-я]{2,4} "!")+',
        'root ::= line+\nline ::= [^\\n]{1,12} "\\n" | " "{3}',
        'root ::= "the" (" box" | " boxes" | [ a-z]*) "."',
        'root ::= a b | b a\na ::= "x"* \nb ::= "xy"?  "x"+',
    ],
)
def test_the_same_tokens_fit_as_by_llama_cpp(gguf: Path, grammar: str) -> None:
    model = llama_cpp.Llama(str(gguf), vocab_only=True, verbose=False)
    pieces = [model.detokenize([token]) for token in range(model.n_vocab())]
    ending = {token for token in range(model.n_vocab()) if token == model.token_eos()}
    vocabulary = Vocabulary(pieces)
    seen = 0
    for seed in range(3):
        dice, said = random.Random(seed), b""
        peer, constraint = Peer(model, grammar), Constraint(parse(grammar), vocabulary, ending)
        for _ in range(25):
            fitting = set(constraint.fitting().tolist())
            assert {token for token in range(len(pieces)) if constraint.takes(token)} == fitting
            theirs = {
                one for one in peer.fitting() if one in ending or (pieces[one] and begins_utf8(said + pieces[one]))
            }
            assert theirs == fitting, [pieces[one] for one in theirs ^ fitting]
            going = sorted(fitting - ending)
            if not going:
                break
            token = dice.choice(going)
            said += pieces[token]
            peer.accept(token)
            constraint.accept(token)
            seen += 1
        peer.close()
    model.close()
    assert seen > 10


def begins_utf8(data: bytes) -> bool:
    """llama.cpp lets bytes through that begin no character at all."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True


def test_tokens_without_visible_text_never_fit_and_none_may_where_the_vocabulary_is_too_poor() -> None:
    constraint = Constraint(parse('root ::= "a" "b"'), Vocabulary([b"", b"a", b"ab", b"x", b"abc"]), {3, 99})
    assert constraint.fitting().tolist() == [1, 2]
    constraint.accept(1)
    assert not len(constraint.fitting())
    assert not constraint.complete
    assert np.array_equal([constraint.takes(token) for token in range(5)], [False] * 5)
    whole = Constraint(parse('root ::= "a"*'), Vocabulary([b"", b"a", b"x"]), {2, 99})
    assert whole.fitting().tolist() == [1, 2]  # 99 is no token
