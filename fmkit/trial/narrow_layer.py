"""One decoder layer with the operations of a Llama in transformers 5.23, too narrow for any of them to take time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class NarrowNorm(nn.Module):  # type: ignore[misc]  # torch has no types for us
    """Root-mean-square norm, spelt out as transformers does: six operations and two conversions."""

    def __init__(self, width: int, device: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, device=device))

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalise the last dimension."""
        wide = hidden.to(torch.float32)
        variance = wide.pow(2).mean(-1, keepdim=True)
        return self.weight * (wide * torch.rsqrt(variance + 1e-6)).to(hidden.dtype)


class NarrowLayer(nn.Module):  # type: ignore[misc]  # torch has no types for us
    """Attention over a short cache that grows by concatenation, and a gated feed-forward."""

    WIDTH = 64
    HEADS = 4
    HEAD_DIM = 16
    CACHED = 16

    def __init__(self, device: str) -> None:
        super().__init__()

        def linear() -> nn.Linear:
            return nn.Linear(self.WIDTH, self.WIDTH, bias=False, device=device)

        self.query, self.key, self.value, self.output = linear(), linear(), linear(), linear()
        self.gate, self.up, self.down = linear(), linear(), linear()
        self.before, self.after = NarrowNorm(self.WIDTH, device), NarrowNorm(self.WIDTH, device)
        self.cached = torch.zeros(1, self.HEADS, self.CACHED, self.HEAD_DIM, device=device)
        self.cosine = torch.ones(1, 1, self.HEAD_DIM, device=device)

    def forward(self, hidden: Tensor) -> Tensor:
        """One new token."""
        normed = self.before(hidden)
        shape = (*normed.shape[:-1], self.HEADS, self.HEAD_DIM)
        query = self._rotated(self.query(normed).view(shape).transpose(1, 2))
        key = self._rotated(self.key(normed).view(shape).transpose(1, 2))
        value = self.value(normed).view(shape).transpose(1, 2)
        keys, values = torch.cat([self.cached, key], dim=-2), torch.cat([self.cached, value], dim=-2)
        mixed = functional.scaled_dot_product_attention(query, keys, values)
        hidden = hidden + self.output(mixed.transpose(1, 2).contiguous().reshape(*normed.shape[:-1], -1))
        normed = self.after(hidden)
        return hidden + self.down(functional.silu(self.gate(normed)) * self.up(normed))

    def _rotated(self, heads: Tensor) -> Tensor:
        """Rotary positions: the halves of each head, turned."""
        cosine = self.cosine.unsqueeze(1)
        first, second = heads[..., : self.HEAD_DIM // 2], heads[..., self.HEAD_DIM // 2 :]
        return heads * cosine + torch.cat((-second, first), dim=-1) * cosine
