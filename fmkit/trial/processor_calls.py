"""Calls of models that a processor is slow at in ways of its own, in the shapes that transformers makes them in."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from fmkit.speed.rates import Call
from fmkit.trial.device_calls import Shapes, TimedCall, full, linear_layers

VOCABULARY = 8192
"""Rows of the head that is timed: its time grows with them."""

PROMPT_TOKENS = 64
ACTIVATED_TOKENS = (1, 64, 512, 2048)


class ProcessorCalls:
    """The calls in one type, over `weights`: the matrices that linear layers are timed with, taken the other way around."""

    def __init__(self, shapes: Shapes, dtype: str, weights: list[Tensor]) -> None:
        self.shapes = shapes
        self.dtype = dtype
        self._narrowing = [weight.view(shapes.hidden, shapes.inner) for weight in weights]

    def common(self) -> Iterator[TimedCall]:
        """Calls of nearly all models: matrices with fewer outputs than inputs, and the head over a prompt's last token."""
        yield from self._multiplied(
            "narrowing", lambda tokens, used: partial(linear_layers, self._full(1, tokens, self.shapes.inner), used)
        )
        with torch.inference_mode(mode=False):
            head = torch.nn.Parameter(self._full(VOCABULARY, self.shapes.hidden))
        yield self._call(
            "last-token", 1, head.numel(), partial(_last_token, self._full(1, PROMPT_TOKENS, self.shapes.hidden), head)
        )

    def rare(self) -> Iterator[TimedCall]:
        """Calls of some models: GPT-2's transposed matrices, and the spelt-out GELU of GPT-2 and Phi."""
        bias = self._full(self.shapes.inner)
        yield from self._multiplied(
            "transposed",
            lambda tokens, used: partial(_transposed_layers, self._full(tokens, self.shapes.hidden), used, bias),
        )
        for tokens in ACTIVATED_TOKENS:
            rows = self._full(1, tokens, self.shapes.inner)
            yield self._call("new-gelu", tokens, rows.numel(), partial(_new_gelu, rows))

    def _multiplied(self, call: Call, over: Callable[[int, list[Tensor]], Callable[[], object]]) -> Iterator[TimedCall]:
        for tokens in (*self.shapes.few_tokens, *self.shapes.many_tokens):
            used = self._narrowing if tokens in self.shapes.few_tokens else self._narrowing[:1]
            yield self._call(call, tokens, sum(weight.numel() for weight in used), over(tokens, used))

    def _call(self, call: Call, tokens: int, work: float, run: Callable[[], object]) -> TimedCall:
        return TimedCall(rate=call, dtype=self.dtype, tokens=tokens, work=float(work), run=run)

    def _full(self, *shape: int) -> Tensor:
        return full(shape, getattr(torch, self.dtype))


def _transposed_layers(rows: Tensor, weights: list[Tensor], bias: Tensor) -> None:
    for weight in weights:
        torch.addmm(bias, rows, weight)


def _last_token(prompt: Tensor, head: Tensor) -> Tensor:
    """A row cut out of a prompt, by a parameter made outside of inference mode: torch 2.13 copies other weights sequence by sequence."""
    return functional.linear(prompt[:, -1:, :], head)


def _new_gelu(rows: Tensor) -> Tensor:
    """GELU by its tanh formula, one operation after the other (Hendrycks and Gimpel, arXiv:1606.08415)."""
    cubed = 0.044715 * torch.pow(rows, 3.0)
    return 0.5 * rows * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (rows + cubed)))
