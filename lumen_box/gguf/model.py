"""A parsed GGUF header: what the metadata says, and where every tensor lies.

Values are reached by type: asking for a number where the file has a string is an error of the file, not of the
caller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from ..errors import Damaged
from .filetypes import FILE_TYPES
from .values import Scalar, TensorType, Value, ValueType

INTEGERS = frozenset(
    {
        ValueType.U8,
        ValueType.I8,
        ValueType.U16,
        ValueType.I16,
        ValueType.U32,
        ValueType.I32,
        ValueType.U64,
        ValueType.I64,
    }
)
TOKENS = "tokenizer.ggml.tokens"
CHAT_TEMPLATE = "tokenizer.chat_template"


def unsound(reason: str) -> Damaged:
    """The error for a file that this box will not hand to the engine."""
    return Damaged(f"The GGUF file is not sound: {reason}.", then="Fetch the file again from where it came.")


def quoted(words: str) -> str:
    """A name out of the file, short and harmless enough for a message."""
    return ascii(words if len(words) <= 60 else words[:57] + "...")


@dataclass(frozen=True)
class Tensor:
    """``shape`` lists the fastest dimension first; ``offset`` (in the data section) and ``size`` are bytes."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int
    size: int


@dataclass(frozen=True)
class Gguf:
    """What the header of a GGUF file says. ``data_offset`` is where the data section begins in the file."""

    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    alignment: int
    header_size: int
    data_offset: int

    def text(self, key: str) -> str | None:
        """A string, or ``None`` where the key is missing."""
        value = self._typed(key, frozenset({ValueType.STRING}), "a string")
        return value if isinstance(value, str) else None

    def integer(self, key: str) -> int | None:
        """A whole number, or ``None`` where the key is missing."""
        value = self._typed(key, INTEGERS, "a whole number")
        return value if isinstance(value, int) else None

    def truth(self, key: str) -> bool | None:
        """A yes or no, or ``None`` where the key is missing."""
        value = self._typed(key, frozenset({ValueType.BOOL}), "true or false")
        return value if isinstance(value, bool) else None

    def items(self, key: str, *types: ValueType) -> tuple[Scalar, ...] | None:
        """An array of one of ``types``, or ``None`` where the key is missing."""
        value = self.metadata.get(key)
        if value is None:
            return None
        if not isinstance(value.data, tuple) or value.items not in types:
            raise unsound(f"{quoted(key)} is not a list of {' or '.join(kind.name for kind in types)}")
        return value.data

    def _typed(self, key: str, types: frozenset[ValueType], what: str) -> Scalar | tuple[Scalar, ...] | None:
        value = self.metadata.get(key)
        if value is not None and value.type not in types:
            raise unsound(f"{quoted(key)} is not {what}")
        return None if value is None else value.data

    @property
    def architecture(self) -> str:
        """Such as ``llama`` or ``qwen3``; empty where the file does not say."""
        return self.text("general.architecture") or ""

    @property
    def name(self) -> str:
        return self.text("general.name") or ""

    @property
    def context_length(self) -> int:
        """Tokens that the model was trained to see at once; 0 where the file does not say."""
        return self.integer(f"{self.architecture}.context_length") or 0

    @property
    def chat_template(self) -> str | None:
        return self.text(CHAT_TEMPLATE)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The vocabulary, as the file spells it."""
        return tuple(str(token) for token in self.items(TOKENS, ValueType.STRING) or ())

    @property
    def parameter_count(self) -> int:
        return sum(prod(tensor.shape) for tensor in self.tensors)

    @property
    def quantisation(self) -> str:
        """The name that people know, such as ``Q4_K_M``; otherwise the type that takes most bytes."""
        named = FILE_TYPES.get(self.integer("general.file_type") or 0) if "general.file_type" in self.metadata else None
        if named:
            return named
        sizes: Counter[str] = Counter()
        for tensor in self.tensors:
            sizes[tensor.type.name] += tensor.size
        return sizes.most_common(1)[0][0] if sizes else ""

    @property
    def split_count(self) -> int:
        """Of how many files this is one; 1 for a whole model."""
        return self.integer("split.count") or 1
