"""The network: llama's architecture in PyTorch, with the names that GGUF gives its tensors.

RMS norms, rotary positions on neighbouring pairs (llama.cpp's for this architecture), grouped-query attention, a
gated SiLU, no biases, an output matrix of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as fn


@dataclass(frozen=True)
class Shape:
    vocabulary: int
    width: int = 384
    layers: int = 4
    heads: int = 6
    kv_heads: int = 3
    hidden: int = 768
    context: int = 2048
    rope_base: float = 10000.0
    epsilon: float = 1e-5

    @property
    def head(self) -> int:
        return self.width // self.heads


def rotations(shape: Shape, length: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine, each (length, head / 2)."""
    speeds = shape.rope_base ** (-torch.arange(0, shape.head, 2, dtype=torch.float32) / shape.head)
    angles = torch.outer(torch.arange(length, dtype=torch.float32), speeds)
    return angles.cos(), angles.sin()


def rotated(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """``x`` (batch, heads, length, head), each neighbouring pair turned by its position's angle."""
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = turn
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).to(x.dtype)


class Block(nn.Module):
    """One layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, kv_width = shape.width, shape.kv_heads * shape.head
        self.attn_norm = nn.RMSNorm(width, eps=shape.epsilon)
        self.attn_q = nn.Linear(width, width, bias=False)
        self.attn_k = nn.Linear(width, kv_width, bias=False)
        self.attn_v = nn.Linear(width, kv_width, bias=False)
        self.attn_output = nn.Linear(width, width, bias=False)
        self.ffn_norm = nn.RMSNorm(width, eps=shape.epsilon)
        self.ffn_gate = nn.Linear(width, shape.hidden, bias=False)
        self.ffn_up = nn.Linear(width, shape.hidden, bias=False)
        self.ffn_down = nn.Linear(shape.hidden, width, bias=False)

    def _attended(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        head = self.shape.head
        q, k, v = (
            part(x).unflatten(-1, (-1, head)).transpose(1, 2) for part in (self.attn_q, self.attn_k, self.attn_v)
        )
        group = self.shape.heads // self.shape.kv_heads
        k, v = (part.repeat_interleave(group, dim=1) for part in (rotated(k, turn), v))
        mixed = fn.scaled_dot_product_attention(rotated(q, turn), k, v, is_causal=True)
        return self.attn_output(mixed.transpose(1, 2).flatten(-2))

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self._attended(self.attn_norm(x), turn)
        y = self.ffn_norm(x)
        return x + self.ffn_down(fn.silu(self.ffn_gate(y)) * self.ffn_up(y))


class Network(nn.Module):
    """Tokens (batch, length) to logits, at the positions that are asked for."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        self.output = nn.Linear(shape.width, shape.vocabulary, bias=False)
        nn.init.normal_(self.token_embd.weight, std=0.2)
        nn.init.normal_(self.output.weight, std=0.01)
        for name, weight in self.named_parameters():
            if name.endswith(("attn_output.weight", "ffn_down.weight")):
                nn.init.zeros_(weight)
            elif name.startswith("blk.") and weight.dim() == 2:
                nn.init.normal_(weight, std=shape.width**-0.5 / 2)

    def forward(self, tokens: Tensor, where: Tensor) -> Tensor:
        """Logits (n, vocabulary) at the n places where ``where`` (batch, length) is true."""
        turn = rotations(self.shape, tokens.shape[1])
        x = self.token_embd(tokens)
        for block in self.blk:
            x = block(x, turn)
        return self.output(self.output_norm(x[where]))

    @property
    def size(self) -> int:
        return sum(weight.numel() for weight in self.parameters())
