"""The calls that every device is timed with: linear layers over a few tokens and over many, and attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

import msgspec
import torch
from torch import Tensor
from torch.nn import functional

from fmkit.speed.rates import Call

DeviceName = Literal["cpu", "cuda", "mps", "xpu"]
RateName = Literal["weight-bytes", "operations", "attention-macs"]


class Shapes(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of the calls on one kind of device: a model of a size that people run there.

    `weights` matrices of `hidden` x `inner` are used in turn, so that no cache holds them. `heads` over `kv_heads` of `head_dim`
    attend to `cached` tokens in `sequences` sequences.
    """

    hidden: int
    inner: int
    weights: int
    few_tokens: tuple[int, ...]
    many_tokens: tuple[int, ...]
    heads: int
    kv_heads: int
    head_dim: int
    cached: int
    sequences: int
    dtypes: tuple[str, ...]


class TimedCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call: what its rate is called, and the work of a round in the unit of that rate."""

    rate: RateName | Call
    dtype: str
    tokens: int
    work: float
    run: Callable[[], object]


class DeviceCalls:
    """The calls on one device in one type."""

    def __init__(self, device: DeviceName, shapes: Shapes, dtype: str) -> None:
        self.device = device
        self.shapes = shapes
        self.dtype = dtype
        self.weights = [self._full(shapes.inner, shapes.hidden) for _ in range(shapes.weights)]

    def linear(self) -> Iterator[TimedCall]:
        """Linear layers over each number of tokens: bytes of weights for few, operations for many."""
        shapes = self.shapes
        for tokens in shapes.few_tokens:
            run = partial(linear_layers, self._full(1, tokens, shapes.hidden), self.weights)
            yield self._call("weight-bytes", tokens, float(sum(weight.nbytes for weight in self.weights)), run)
        for tokens in shapes.many_tokens:
            used = self.weights[:1] if self.device == "cpu" else self.weights
            run = partial(linear_layers, self._full(1, tokens, shapes.hidden), used)
            yield self._call("operations", tokens, 2.0 * tokens * shapes.hidden * shapes.inner * len(used), run)

    def attention(self) -> Iterator[TimedCall]:
        """Multiply-adds of attention: one token over the cache, and a prompt over itself."""
        shapes = self.shapes
        prompts = shapes.many_tokens[:1] + shapes.many_tokens[-1:] if self.device == "cpu" else shapes.many_tokens[-1:]
        for tokens, cached, sequences, causal in (
            (1, shapes.cached, shapes.sequences, False),
            *((prompt, prompt, 1, True) for prompt in dict.fromkeys(prompts)),
        ):
            query = self._full(sequences, shapes.heads, tokens, shapes.head_dim)
            keys = self._full(sequences, shapes.kv_heads, cached, shapes.head_dim)
            values = self._full(sequences, shapes.kv_heads, cached, shapes.head_dim)
            run = partial(
                functional.scaled_dot_product_attention, query, keys, values, is_causal=causal, enable_gqa=True
            )
            pairs = tokens * (cached + 1) / 2 if causal else tokens * cached
            yield self._call("attention-macs", tokens, 2.0 * sequences * shapes.heads * shapes.head_dim * pairs, run)

    def _call(self, rate: RateName, tokens: int, work: float, run: Callable[[], object]) -> TimedCall:
        return TimedCall(rate=rate, dtype=self.dtype, tokens=tokens, work=work, run=run)

    def _full(self, *shape: int) -> Tensor:
        return full(shape, getattr(torch, self.dtype), self.device)


def eight_bit(device: DeviceName, shapes: Shapes) -> Iterator[TimedCall]:
    """Matrix products in float8 (e4m3, scaled) and int8: operations."""
    tokens = shapes.many_tokens[-1]
    one = torch.ones((), device=device)
    for dtype in ("float8_e4m3fn", "int8"):
        kind = getattr(torch, dtype)
        rows = torch.ones(tokens, shapes.hidden, device=device).to(kind)
        weight = torch.ones(shapes.inner, shapes.hidden, device=device).to(kind)
        if dtype == "int8":
            run: Callable[[], object] = partial(torch._int_mm, rows, weight.t())  # noqa: SLF001  its only name
        else:
            run = partial(torch._scaled_mm, rows, weight.t(), one, one, out_dtype=torch.bfloat16)  # noqa: SLF001
        work = 2.0 * tokens * shapes.hidden * shapes.inner
        yield TimedCall(rate="operations", dtype=dtype, tokens=tokens, work=work, run=run)


def linear_layers(rows: Tensor, weights: list[Tensor]) -> None:
    """One linear layer after the other over the same rows."""
    for weight in weights:
        functional.linear(rows, weight)


def full(shape: tuple[int, ...], kind: torch.dtype, device: DeviceName = "cpu") -> Tensor:
    """A tensor of small equal numbers: nothing overflows, and no value makes a call faster.

    It is made outside of inference mode, as a model's are: some calls take another way with tensors made in it.
    """
    with torch.inference_mode(mode=False):
        return torch.full(shape, 0.01, dtype=kind, device=device)
