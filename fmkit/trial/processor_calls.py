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
        with torch.inference_mode(mode=False):
            head = torch.nn.Parameter(self._full(VOCABULARY, hidden))
        yield "last-token", 1, float(head.numel()), partial(_last_token, self._full(1, PROMPT_TOKENS, hidden), head)
        for tokens in dict.fromkeys((PROMPT_TOKENS, self.shapes.many_tokens[-1])):
            yield "scan", tokens, float(tokens * hidden * STATE_DIM), self._scan(tokens)

    def _scan(self, tokens: int) -> Callable[[], object]:
        """The selective scan of Mamba over a prompt: the longer it is, the more memory is taken anew for it, page by page."""
        inner = self.shapes.hidden
        prompt = self._full(1, inner, tokens)
        step = torch.full((1, inner, tokens), 0.01)
        state = torch.full((inner, STATE_DIM), -0.01)
        into, out = self._full(1, tokens, STATE_DIM), self._full(1, tokens, STATE_DIM)
        return partial(_selective_scan, prompt, step, state, into, out)

    def _full(self, *shape: int) -> Tensor:
        with torch.inference_mode(mode=False):  # as a model's tensors are made
            return torch.full(shape, 0.01, dtype=self.kind)


def _linear_layers(rows: Tensor, weights: list[Tensor]) -> None:
    for weight in weights:
        functional.linear(rows, weight)


def _transposed_layers(rows: Tensor, weights: list[Tensor], bias: Tensor) -> None:
    for weight in weights:
        torch.addmm(bias, rows, weight)


def _last_token(prompt: Tensor, head: Tensor) -> Tensor:
    """A row cut out of a prompt, by a parameter made outside of inference mode: torch 2.13 copies other weights sequence by sequence."""
    return functional.linear(prompt[:, -1:, :], head)


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
