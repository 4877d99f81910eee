"""Checks a model's tokenizer against what llama.cpp takes for granted.

It aborts on two equal tokens, on byte tokens of a kind of tokenizer that has none, and when a start or end token is
to be added that does not exist; it throws through its C interface, which ends the process as well, when a text needs
the token of a byte and there is none; and RWKV's loop never ends on a byte that no token begins with. Other faults it
refuses by itself, but only after minutes of copying, so the common ones are named here, too.

Tokenizer kinds, by ``tokenizer.ggml.model``: ``llama`` (SentencePiece), ``gpt2`` and ``gemma4`` (byte pairs),
``bert`` (WordPiece), ``t5`` (unigram), ``rwkv``, ``none``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ..errors import TooNew
from .charsmap import check_charsmap
from .limits import MAX_TOKEN_BYTES
from .model import CHAT_TEMPLATE, TOKENS, Gguf, quoted, unsound
from .rwkv import spelled_out
from .values import ValueType

BYTE = 6
"""llama.cpp's type of a token that stands for one byte; 0 to 6 are in use."""
BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
EMBEDDING = "token_embd.weight"


@dataclass(frozen=True)
class Kind:
    """What a kind of tokenizer does by default: its special ids, and which of them it adds to a text."""

    bos: int | None = None
    eos: int | None = None
    sep: int | None = None
    adds_bos: bool = False
    adds_eos: bool = False
    adds_sep: bool = False
    byte_tokens: bool = False
    merges: bool = False


KINDS = {
    "llama": Kind(bos=1, eos=2, adds_bos=True, byte_tokens=True),
    # Some pre-tokenizers add a start token, so every byte-pair tokenizer must have one unless it declines.
    "gpt2": Kind(bos=11, eos=11, adds_bos=True, byte_tokens=True, merges=True),
    "gemma4": Kind(adds_bos=True, byte_tokens=True, merges=True),
    "bert": Kind(bos=101, sep=102, adds_bos=True, adds_sep=True),
    "t5": Kind(eos=1, adds_eos=True, byte_tokens=True),
    "rwkv": Kind(),
}
ALWAYS_ADDED = {"gemma4": ("bos",), "bert": ("bos", "sep")}
SPECIAL_KEYS = {"bos": "bos_token_id", "eos": "eos_token_id", "sep": "seperator_token_id"}  # spelled so in the format
OTHER_SPECIAL_KEYS = ("eot_token_id", "eom_token_id")


def check_tokenizer(gguf: Gguf) -> None:
    """Raises ``Damaged`` for a tokenizer that llama.cpp would stumble over, ``TooNew`` for an unknown kind."""
    name = gguf.text("tokenizer.ggml.model")
    if name is None:
        raise unsound("it names no tokenizer")
    gguf.text(CHAT_TEMPLATE)
    if name in ("none", "no_vocab"):
        return _check_rows(gguf, gguf.integer(f"{gguf.architecture}.vocab_size") or 0)
    kind = KINDS.get(name)
    if kind is None:
        raise TooNew(f"The GGUF file has a tokenizer of the kind {quoted(name)}.", then="It needs a newer Lumen Box.")
    tokens = _tokens(gguf)
    _check_rows(gguf, len(tokens))
    _check_scores(gguf, len(tokens))
    _check_types(gguf, tokens, kind)
    _check_special(gguf, name, kind, len(tokens))
    if kind.merges:
        _check_merges(gguf)
    if name == "llama":
        _check_every_byte(tokens)
    if name == "rwkv":
        _check_rwkv(tokens)
    if name == "t5":
        check_charsmap(gguf)


def _key(name: str) -> str:
    return f"tokenizer.ggml.{name}"


def _tokens(gguf: Gguf) -> tuple[str, ...]:
    tokens = tuple(token.partition("\0")[0] for token in gguf.tokens)  # C sees no more of them
    if not tokens:
        raise unsound(f"{TOKENS} is missing or empty")
    # An empty token gets a name of its own in llama.cpp, which must not be taken either.
    distinct = {token or f"[EMPTY_{number}]" for number, token in enumerate(tokens)}
    if len(distinct) != len(tokens):
        raise unsound("its vocabulary has the same token twice")
    longest = max(tokens, key=len)
    if len(longest.encode()) > MAX_TOKEN_BYTES:
        raise unsound(f"the token {quoted(longest)} is longer than {MAX_TOKEN_BYTES} bytes")
    return tokens


def _check_rows(gguf: Gguf, count: int) -> None:
    for tensor in gguf.tensors:
        if tensor.name == EMBEDDING and tensor.shape[1:] != (count,):
            rows = math.prod(tensor.shape[1:])
            raise unsound(f"its vocabulary has {count} tokens, but its embedding {rows} rows")


def _check_scores(gguf: Gguf, count: int) -> None:
    scores = gguf.items(_key("scores"), ValueType.F32, ValueType.I32)
    if scores is None:
        return
    if len(scores) != count:
        raise unsound(f"it has {len(scores)} scores for {count} tokens")
    if any(math.isnan(float(score)) for score in scores):
        raise unsound("a token's score is not a number")


def _check_types(gguf: Gguf, tokens: tuple[str, ...], kind: Kind) -> None:
    types = gguf.items(_key("token_type"), ValueType.I32)
    if types is None:
        return
    if len(types) != len(tokens):
        raise unsound(f"it has {len(types)} token types for {len(tokens)} tokens")
    for token, number in zip(tokens, types, strict=True):
        if not 0 <= int(number) <= BYTE:
            raise unsound(f"the token {quoted(token)} has the unknown type {number}")
        if number == BYTE and not (kind.byte_tokens and BYTE_TOKEN.fullmatch(token)):
            raise unsound(f"the token {quoted(token)} cannot stand for a byte")


def _check_special(gguf: Gguf, name: str, kind: Kind, count: int) -> None:
    for other in OTHER_SPECIAL_KEYS:
        _special(gguf, other, None, count)
    for which, default, adds in (
        ("bos", kind.bos, kind.adds_bos),
        ("eos", kind.eos, kind.adds_eos),
        ("sep", kind.sep, kind.adds_sep),
    ):
        wanted = gguf.truth(_key(f"add_{which}_token"))
        added = which in ALWAYS_ADDED.get(name, ()) or (adds if wanted is None else wanted)
        if _special(gguf, SPECIAL_KEYS[which], default, count) is None and added and _uses(name, which):
            raise unsound(f"its tokenizer adds a {which} token, and there is none")


def _uses(name: str, which: str) -> bool:
    """Whether this tokenizer looks at the wish to add such a token at all."""
    return name != "rwkv" and which != ("eos" if name == "bert" else "sep")


def _special(gguf: Gguf, name: str, default: int | None, count: int) -> int | None:
    given = gguf.integer(_key(name))
    if given is None:
        return default if default is not None and default < count else None
    if not 0 <= given < count:
        raise unsound(f"{name} is {given}, but the vocabulary has {count} tokens")
    return given


def _check_merges(gguf: Gguf) -> None:
    merges = gguf.items(_key("merges"), ValueType.STRING)
    if merges is None:
        if gguf.text(_key("pre")) == "kimi-k2":
            return
        raise unsound("its byte-pair tokenizer has no merges")
    for merge in merges:
        space = str(merge).find(" ", 1)
        if not 0 < space < len(str(merge)) - 1:
            raise unsound(f"the merge {quoted(str(merge))} is not two tokens")


def _check_every_byte(tokens: tuple[str, ...]) -> None:
    """A SentencePiece text falls back to bytes, each as ``<0xNN>`` or, in ASCII, as itself."""
    known = set(tokens)
    for byte in range(256):
        if f"<0x{byte:02X}>" not in known and not (byte < 0x80 and chr(byte) in known):
            raise unsound(f"its vocabulary has no token for the byte {byte:02X}")


def _check_rwkv(tokens: tuple[str, ...]) -> None:
    single = {raw for raw in map(spelled_out, tokens) if len(raw) == 1}
    if len(single) < 256:
        raise unsound(f"its vocabulary has tokens for {len(single)} of 256 bytes only")
