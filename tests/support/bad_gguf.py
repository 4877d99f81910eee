"""Malformed GGUF files, each with the words that its refusal must hold.

``files()`` is the table: every entry is a sound file with one thing wrong. A test may write any of them to disk and
expect exit code 22, or 25 where ``error`` is ``TooNew``.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lumen_box.errors import Damaged, LumenError, TooNew
from lumen_box.gguf import values as v
from lumen_box.gguf.writer import NewTensor

from . import good_gguf as good

U64_MAX = 2**64 - 1


@dataclass(frozen=True)
class Bad:
    name: str
    data: bytes
    words: str
    error: type[LumenError] = Damaged


def string(raw: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(raw) if length is None else length) + raw


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def info(name: bytes, shape: Sequence[int], kind: int = 0, offset: int = 0, rank: int | None = None) -> bytes:
    dims = struct.pack(f"<I{len(shape)}Q", len(shape) if rank is None else rank, *shape)
    return string(name) + dims + struct.pack("<IQ", kind, offset)


def raw(
    pairs: Sequence[bytes] = (),
    infos: Sequence[bytes] = (),
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    counts: tuple[int, int] | None = None,
    data: int = 0,
) -> bytes:
    """A file put together by hand: counts as given, then the pairs and tensor infos, then ``data`` zero bytes."""
    tensors, keys = counts or (len(infos), len(pairs))
    head = magic + struct.pack("<IQQ", version, tensors, keys) + b"".join(pairs) + b"".join(infos)
    return head + bytes(-len(head) % 32) + bytes(data)


def changed(kind: str = "llama", /, **changes: v.Value | None) -> bytes:
    """A sound file with keys replaced, added, or (``None``) taken away; ``__`` stands for the dot."""
    metadata = good.header(kind)
    for name, value in changes.items():
        key = name.replace("__", ".")
        if value is None:
            del metadata[key]
        else:
            metadata[key] = value
    return good.file(metadata)


def with_tokens(kind: str, tokens: Sequence[str], types: Sequence[int]) -> bytes:
    """A sound file of one kind with more tokens at the end of its vocabulary."""
    metadata = good.header(kind)
    for key, more in (("tokens", tokens), ("token_type", types), ("scores", [0.0] * len(tokens))):
        old = metadata.get(f"tokenizer.ggml.{key}")
        if old is not None and isinstance(old.data, tuple):
            metadata[f"tokenizer.ggml.{key}"] = v.Value(old.type, (*old.data, *more), old.items)
    return good.file(metadata)


def without_token(kind: str, token: str) -> bytes:
    """The same with one token renamed."""
    metadata = good.header(kind)
    old = metadata["tokenizer.ggml.tokens"].data
    assert isinstance(old, tuple) and token in old
    metadata["tokenizer.ggml.tokens"] = good.strings([("renamed" if word == token else str(word)) for word in old])
    types = metadata["tokenizer.ggml.token_type"].data
    assert isinstance(types, tuple)
    metadata["tokenizer.ggml.token_type"] = good.numbers([1 if kind == 6 else int(kind) for kind in types])
    return good.file(metadata)


def laid_out(*parts: NewTensor) -> bytes:
    return good.file(good.header(), parts)


def _framing() -> Iterator[Bad]:
    sound = good.file(good.header())
    yield Bad("empty", b"", "ends inside its header")
    yield Bad("four bytes", b"GGUF", "ends inside its header")
    yield Bad("other magic", raw(magic=b"GGML"), "letters GGUF")
    yield Bad("version 0", raw(version=0), "no longer in use")
    yield Bad("version 1", raw(version=1), "no longer in use")
    yield Bad("version 4", raw(version=4), "format version 4", TooNew)
    yield Bad("big-endian", raw(version=3 << 24), "big-endian")
    yield Bad("cut in the header", sound[:100], "ends inside its header")
    yield Bad("cut in the data", sound[:-200], "its tensors need")
    yield Bad("one byte too few", sound[:-1] if len(sound) % 32 else sound[:-33], "its tensors need")
    yield Bad("trailing bytes", sound + bytes(64), "follow its last tensor")
    yield Bad("one byte too many", sound + b"\0", "follow its last tensor")
    for count in (2**32 - 1, 2**63, U64_MAX):
        yield Bad(f"{count} tensors", raw(counts=(count, 0)), "tensors; at most")
        yield Bad(f"{count} keys", raw(counts=(0, count)), "metadata keys; at most")
    yield Bad("more keys than there are", raw([pair(b"a", 0, b"\0")], counts=(0, 4000))[:42], "ends inside its header")
    yield Bad("no tensors", raw(), "no tensors")


def _metadata() -> Iterator[Bad]:
    for length in (2**32 - 1, 2**63, U64_MAX):
        yield Bad(f"key of {length} bytes", raw([string(b"", length)]), "bytes long; at most")
        yield Bad(f"string of {length} bytes", raw([pair(b"a", 8, string(b"", length))]), "bytes long; at most")
        claimed = pair(b"a", 9, struct.pack("<IQ", 0, length))
        yield Bad(f"list of {length}", raw([claimed]), "elements; ")
    yield Bad("string beyond the end", raw([pair(b"a", 8, string(b"abc", 9000))]), "ends inside its header")
    yield Bad("empty key", raw([pair(b"", 0, b"\0")]), "not printable")
    yield Bad("NUL in a key", raw([pair(b"a\0b", 0, b"\0")]), "not printable")
    yield Bad("escape in a key", raw([pair(b"a\x1b[2J", 0, b"\0")]), "not printable")
    yield Bad("key twice", raw([pair(b"a", 0, b"\0")] * 2), "appears twice")
    yield Bad("unknown type", raw([pair(b"a", 13, b"\0")]), "unknown type 13")
    yield Bad("huge type", raw([pair(b"a", 2**32 - 1, b"\0")]), "unknown type")
    yield Bad("list of unknown type", raw([pair(b"a", 9, struct.pack("<IQ", 77, 1))]), "unknown type 77")
    yield Bad("list of lists", raw([pair(b"a", 9, struct.pack("<IQIQ", 9, 1, 9, 1))]), "list of lists")
    yield Bad("truth value 2", raw([pair(b"a", 7, b"\2")]), "other than 0 or 1")
    yield Bad("truth value in a list", raw([pair(b"a", 9, struct.pack("<IQ", 7, 2) + b"\1\xff")]), "other than 0 or 1")
    yield Bad("broken UTF-8", raw([pair(b"a", 8, string(b"\xc3("))]), "not valid UTF-8")
    yield Bad("broken UTF-8 in a list", raw([pair(b"a", 9, struct.pack("<IQ", 8, 1) + string(b"\xff"))]), "UTF-8")
    big = struct.pack("<IQ", 0, 3 * 2**20) + bytes(3 * 2**20)
    yield Bad("lists too long together", raw([pair(b"a", 9, big), pair(b"b", 9, big)]), "elements; ")
    for bad in (0, 1, 4, 3, 48, 2**17, 2**31):
        yield Bad(f"alignment {bad}", raw([pair(b"general.alignment", 4, struct.pack("<I", bad))]), "power of two")
    wide = pair(b"general.alignment", 10, struct.pack("<Q", 32))
    yield Bad("alignment of another type", raw([wide]), "not a 32-bit number")


def _tensors() -> Iterator[Bad]:
    for rank in (0, 5, 2**32 - 1):
        yield Bad(f"{rank} dimensions", raw(infos=[info(b"t", (), rank=rank)]), "dimensions")
    for shape in ((0,), (32, 0), (2**62, 4), (2**63, 1), (2**32, 2**32), (U64_MAX,)):
        yield Bad(f"shape {shape}", raw(infos=[info(b"t", shape)], data=128), "impossible shape")
    yield Bad("larger than the file", raw(infos=[info(b"t", (2**40, 2))], data=128), "its tensors need")
    yield Bad("name of 64 bytes", raw(infos=[info(b"n" * 64, (32,))], data=128), "bytes long; at most 63")
    yield Bad("empty name", raw(infos=[info(b"", (32,))], data=128), "not printable")
    yield Bad("NUL in a name", raw(infos=[info(b"a\0", (32,))], data=128), "not printable")
    yield Bad("name twice", raw(infos=[info(b"t", (32,)), info(b"t", (32,), 0, 128)], data=256), "appears twice")
    yield Bad("removed type", raw(infos=[info(b"t", (32,), 4)], data=128), "no longer in use")
    yield Bad("unknown tensor type", raw(infos=[info(b"t", (32,), 43)], data=128), "unknown type 43", TooNew)
    yield Bad("negative type", raw(infos=[info(b"t", (32,), 2**32 - 1)], data=128), "unknown type", TooNew)
    yield Bad("half a block", raw(infos=[info(b"t", (48,), 8)], data=128), "whole blocks of Q8_0")
    yield Bad("half a superblock", raw(infos=[info(b"t", (128, 2), 12)], data=256), "whole blocks of Q4_K")
    two = info(b"a", (32,))
    yield Bad("overlapping", raw(infos=[two, info(b"b", (32,), 0, 0)], data=256), "overlaps")
    yield Bad("partly overlapping", raw(infos=[two, info(b"b", (32,), 0, 96)], data=256), "overlaps")
    yield Bad("a gap", raw(infos=[two, info(b"b", (32,), 0, 160)], data=512), "does not follow")
    yield Bad("not aligned", raw(infos=[two, info(b"b", (32,), 0, 132)], data=512), "not aligned to 32")
    yield Bad("first not at the start", raw(infos=[info(b"a", (32,), 0, 32)], data=256), "does not follow")
    yield Bad("offset 2⁶³", raw(infos=[two, info(b"b", (32,), 0, 2**63)], data=256), "does not follow")
    yield Bad("part of a split", changed(split__count=v.u16(3), split__no=v.u16(0)), "must be merged")


def _sizes() -> Iterator[Bad]:
    yield Bad("no architecture", changed(general__architecture=None), "architecture")
    yield Bad("architecture is a number", changed(general__architecture=v.u32(1)), "not a string")
    yield Bad("architecture with a dot", changed(general__architecture=v.text("llama.x")), "architecture")
    yield Bad("an image encoder", changed(general__architecture=v.text("clip")), "encoder", TooNew)
    yield Bad("an adapter", changed(general__type=v.text("adapter")), "adapter", TooNew)
    yield Bad("no layers", changed(llama__block_count=None), "block_count' is missing")
    for count in (0, 513, 2**32 - 1):
        yield Bad(f"{count} layers", changed(llama__block_count=v.u32(count)), "from 1 to 512")
    yield Bad("context 0", changed(llama__context_length=v.u32(0)), "context_length")
    yield Bad("width 0", changed(llama__embedding_length=v.u32(0)), "embedding_length")
    yield Bad("layers as 64 bits", changed(llama__block_count=v.Value(v.ValueType.U64, 1)), "not a 32-bit number")
    yield Bad("only predicting layers", changed(llama__nextn_predict_layers=v.u32(1)), "predicting ahead")
    yield Bad("1025 experts", changed(llama__expert_count=v.u32(1025), llama__expert_used_count=v.u32(2)), "experts")
    yield Bad("no expert used", changed(llama__expert_count=v.u32(8)), "uses 0 of 8")
    yield Bad("experts from nowhere", changed(llama__expert_used_count=v.u32(2)), "uses 2 of 0")
    experts = {"llama__expert_count": v.u32(8), "llama__expert_used_count": v.u32(2)}
    yield Bad("8 groups of 8", changed(**experts, llama__expert_group_count=v.u32(8)), "groups")
    yield Bad("3 groups of 8", changed(**experts, llama__expert_group_count=v.u32(3)), "groups")
    yield Bad("no group used", changed(**experts, llama__expert_group_count=v.u32(4)), "uses 0 of 4 groups")
    yield Bad("heads for two layers", changed(llama__attention__head_count=good.numbers([4, 4])), "2 entries for 1")
    yield Bad("negative heads", changed(llama__attention__head_count=good.numbers([-4])), "negative")
    yield Bad("heads not shared evenly", changed(llama__attention__head_count_kv=v.u32(3)), "cannot share")
    yield Bad("more heads than width", changed(llama__attention__head_count=v.u32(64)), "do not fit")
    yield Bad(
        "heads of no size", changed(llama__attention__key_length=v.u32(0), llama__rope__dimension_count=None), "fit"
    )
    yield Bad("odd rope", changed(llama__rope__dimension_count=v.u32(7)), "turns 7 of 8")
    yield Bad("rope larger than a head", changed(llama__rope__dimension_count=v.u32(10)), "turns 10 of 8")
    for number in (-1.0, math.nan):
        eps = v.f32(number)
        yield Bad(f"epsilon {number}", changed(llama__attention__layer_norm_rms_epsilon=eps), "not a positive number")
    yield Bad("unknown rope scaling", changed(llama__rope__scaling__type=v.text("cubic")), "'cubic' is unknown")


def _tokenizers() -> Iterator[Bad]:
    key = "tokenizer__ggml__"
    yield Bad("no tokenizer", changed(tokenizer__ggml__model=None), "names no tokenizer")
    yield Bad("unknown tokenizer", changed(tokenizer__ggml__model=v.text("telepathy")), "telepathy", TooNew)
    yield Bad("no tokens", changed(tokenizer__ggml__tokens=good.strings([])), "missing or empty")
    yield Bad("tokens are numbers", changed(tokenizer__ggml__tokens=good.numbers([1, 2])), "not a list of STRING")
    yield Bad("same token twice", with_tokens("llama", ["a"], [1]), "same token twice")
    yield Bad("same token up to NUL", with_tokens("llama", ["a\0b"], [1]), "same token twice")
    yield Bad("two empty names", with_tokens("llama", ["", "[EMPTY_264]"], [1, 1]), "same token twice")
    yield Bad("endless token", with_tokens("llama", ["x" * 5000], [1]), "longer than 4096")
    embedding = good.tensor("token_embd.weight", (good.WIDTH, 7))
    yield Bad("fewer rows than tokens", laid_out(embedding), "its embedding 7 rows")
    yield Bad("flat embedding", laid_out(good.tensor("token_embd.weight", (good.WIDTH,))), "its embedding 1 rows")
    yield Bad("too few scores", changed(**{f"{key}scores": good.scores([0.0])}), "1 scores for")
    yield Bad("score not a number", changed(**{f"{key}scores": good.scores([math.nan] * 264)}), "not a number")
    yield Bad("too few types", changed(**{f"{key}token_type": good.numbers([1, 1])}), "2 token types")
    yield Bad("unknown token type", with_tokens("llama", ["odd"], [7]), "unknown type 7")
    yield Bad("negative token type", with_tokens("llama", ["odd"], [-1]), "unknown type -1")
    for text in ("<0x", "<0xG0>", "<0xab>", "<0x0A>>", "A", ""):
        yield Bad(f"byte token {text!r}", with_tokens("llama", [text or "  "], [6]), "cannot stand for a byte")
    yield Bad("byte token in WordPiece", with_tokens("bert", ["<0x41>"], [6]), "cannot stand for a byte")
    yield Bad("byte token in RWKV", with_tokens("rwkv", ["<0x41>"], [6]), "cannot stand for a byte")
    for token in ("<0x00>", "<0x0A>", "<0xFF>"):
        yield Bad(f"no {token}", without_token("llama", token), f"no token for the byte {token[3:5]}")
    for name in ("bos", "eos", "eot", "eom"):
        yield Bad(f"{name} out of range", changed(**{f"{key}{name}_token_id": v.u32(9999)}), f"{name}_token_id is 9999")
    yield Bad("eos is a string", changed(**{f"{key}eos_token_id": v.text("2")}), "not a whole number")
    added = {f"{key}add_bos_token": v.flag(True)}
    yield Bad("adds no bos", changed("t5", **added), "adds a bos token, and there is none")
    yield Bad("gemma4 without bos", changed("gemma4", **{f"{key}bos_token_id": None}), "adds a bos token")
    yield Bad("bert without separator", changed("bert", **{f"{key}seperator_token_id": None}), "adds a sep token")
    yield Bad("no merges", changed("gpt2", **{f"{key}merges": None}), "no merges")
    for merge in ("ab", " a", "a ", "", " "):
        yield Bad(f"merge {merge!r}", changed("gpt2", **{f"{key}merges": good.strings([merge])}), "not two tokens")
    yield Bad("template is a number", changed(tokenizer__chat_template=v.u32(1)), "not a string")
    yield Bad("RWKV lacks a byte", without_token("rwkv", "\\x0a"), "255 of 256 bytes")
    for text in ("\\", "\\x", "\\x1", "\\xg0"):
        yield Bad(f"RWKV escape {text}", with_tokens("rwkv", [text], [1]), "broken escape")
    yield from _charsmaps()


def _charsmaps() -> Iterator[Bad]:
    table = good.charsmap().data
    assert isinstance(table, tuple)
    sound = bytes(int(item) for item in table)

    def broken(name: str, data: bytes, words: str) -> Bad:
        value = v.array(v.ValueType.U8, list(data))
        return Bad(f"charsmap {name}", changed("t5", tokenizer__ggml__precompiled_charsmap=value), words)

    def unit(index: int, value: int) -> bytes:
        at = 4 + 4 * index
        return sound[:at] + struct.pack("<I", value) + sound[at + 4 :]

    letter = 256 ^ ord("A")
    yield broken("of two bytes", b"ab", "cut short")
    yield broken("too long", struct.pack("<I", 2**32 - 4) + sound[4:], "its own length")
    yield broken("not in units", struct.pack("<I", 2047) + sound[4:], "its own length")
    yield broken("root leads out", unit(0, 512 << 10), "out of itself")
    yield broken("node leads out", unit(letter, ord("A") | ((letter ^ 1024) << 10)), "out of itself")
    yield broken("string leads out", unit(256, 0x8000_0000 | 4096), "does not end")
    yield broken("string does not end", sound[:-1] + b"a", "does not end")


@functools.cache
def files() -> tuple[Bad, ...]:
    """The whole table."""
    return (*_framing(), *_metadata(), *_tensors(), *_sizes(), *_tokenizers())
