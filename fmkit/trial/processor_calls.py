"""Calls of models that a processor is slow at in ways of its own, in the shapes that transformers makes them in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from fmkit.speed.rates import Call
    from fmkit.trial.rates import Shapes

VOCABULARY = 8192
"""Rows of the head that is timed: its time grows with them."""

PROMPT_TOKENS = 64
STATE_DIM = 16


class ProcessorCalls:
    """The calls in one type, over matrices of the sizes that are timed anyway."""

    def __init__(self, shapes: Shapes, kind: torch.dtype) -> None:
        self.shapes = shapes
        self.kind = kind

    def all(self) -> Iterator[tuple[Call, int, float, Callable[[], object]]]:
        """Name, tokens at once, work in the unit of the name, and what to time."""
        hidden, inner, count = self.shapes.hidden, self.shapes.inner, self.shapes.weights
        narrowing = [self._full(hidden, inner) for _ in range(count)]
        for tokens in (*self.shapes.few_tokens, *self.shapes.many_tokens):
            used = narrowing if tokens in self.shapes.few_tokens else narrowing[:1]
            rows = self._full(1, tokens, inner)
            yield "narrowing", tokens, float(hidden * inner * len(used)), partial(_linear_layers, rows, used)
        for tokens in (*self.shapes.few_tokens, *self.shapes.many_tokens):
            used = narrowing if tokens in self.shapes.few_tokens else narrowing[:1]
            call = partial(_transposed_layers, self._full(tokens, hidden), used, self._full(inner))
            yield "transposed", tokens, float(hidden * inner * len(used)), call
        head = torch.nn.Parameter(self._full(VOCABULARY, hidden))
        yield "last-token", 1, float(head.numel()), partial(_last_token, self._full(1, PROMPT_TOKENS, hidden), head)
        for tokens in self.shapes.many_tokens:
            yield "elementwise", tokens, float(tokens * hidden), self._layer_without_weights(tokens)
        yield "scan", 1, float(PROMPT_TOKENS * hidden * STATE_DIM), self._scan()

    def _layer_without_weights(self, tokens: int) -> Callable[[], object]:
        """All of a Llama's layer but its matrices and attention."""
        hidden, inner, heads = self.shapes.hidden, self.shapes.inner, self.shapes.heads
        row, wide = self._full(1, tokens, hidden), self._full(1, tokens, inner)
        cosine = self._full(1, 1, tokens, hidden // heads)
        shape = (1, tokens, heads, hidden // heads)
        return partial(_layer_without_weights, row, wide, cosine, self._full(hidden), shape)

    def _scan(self) -> Callable[[], object]:
        """The selective scan of Mamba over a short prompt."""
        inner = self.shapes.hidden
        prompt = self._full(1, inner, PROMPT_TOKENS)
        step = torch.full((1, inner, PROMPT_TOKENS), 0.01)
        state = torch.full((inner, STATE_DIM), -0.01)
        into, out = self._full(1, PROMPT_TOKENS, STATE_DIM), self._full(1, PROMPT_TOKENS, STATE_DIM)
        return partial(_selective_scan, prompt, step, state, into, out)

    def _full(self, *shape: int) -> Tensor:
        return torch.full(shape, 0.01, dtype=self.kind)


def _linear_layers(rows: Tensor, weights: list[Tensor]) -> None:
    for weight in weights:
        functional.linear(rows, weight)


def _transposed_layers(rows: Tensor, weights: list[Tensor], bias: Tensor) -> None:
    for weight in weights:
        torch.addmm(bias, rows, weight)


def _last_token(prompt: Tensor, head: Tensor) -> Tensor:
    """A row cut out of a prompt, by a parameter: torch 2.13 copies plain weights, which ask for no gradient, sequence by sequence."""
    return functional.linear(prompt[:, -1:, :], head)


def _layer_without_weights(row: Tensor, wide: Tensor, cosine: Tensor, norm: Tensor, shape: tuple[int, ...]) -> Tensor:
    for _ in range(2):
        single = row.to(torch.float32)
        normed = norm * (single * torch.rsqrt(single.pow(2).mean(-1, keepdim=True) + 1e-6)).to(row.dtype)
        row = row + normed
    for _ in range(2):
        turned = _rotated(row.view(shape).transpose(1, 2), cosine)
    mixed = turned.transpose(1, 2).contiguous().view(row.shape)
    gated = functional.silu(wide) * wide
    return mixed + gated[..., : row.shape[-1]]


def _rotated(heads: Tensor, cosine: Tensor) -> Tensor:
    """Rotary positions: the halves of each head, turned."""
    half = heads.shape[-1] // 2
    return heads * cosine + torch.cat((-heads[..., half:], heads[..., :half]), dim=-1) * cosine


def _selective_scan(prompt: Tensor, step: Tensor, state: Tensor, into: Tensor, out: Tensor) -> Tensor:
    """One token after the other, as without the kernels of mamba-ssm."""
    decay = torch.exp(state[None, :, None, :] * step[..., None])
    driven = step[..., None] * into[:, None].float() * prompt[..., None].float()
    held = torch.zeros_like(decay[:, :, 0])
    found = []
    for token in range(prompt.shape[-1]):
        held = decay[:, :, token] * held + driven[:, :, token]
        found.append(torch.matmul(held.to(prompt.dtype), out[:, token].unsqueeze(-1))[:, :, 0])
    return torch.stack(found, dim=-1)
