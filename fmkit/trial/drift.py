"""How fast this processor is now beside when it was measured: a few of the timed calls, timed again.

The speed of a shared or hot machine changes from minute to minute. The calls know nothing of any model.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import msgspec
import torch
from torch.nn import functional

from fmkit.speed.measured_here import Measured
from fmkit.trial.rates import CPU_SHAPES, Bench

if TYPE_CHECKING:
    from fmkit.speed.rates import TorchRates
    from fmkit.trial.rates import Shapes

FEW, MANY = 1, 64
"""Tokens at once of the two calls: one waits for memory, one for the units that multiply."""

SLICE_S = 0.08


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of the calls now over those in the kept rates: 1.4 means that the machine is 1.4 times as slow as it was."""

    decode: float
    prefill: float

    def with_later(self, other: Drift) -> Drift:
        """The mean of two moments, for what ran between them."""
        return Drift(decode=(self.decode + other.decode) / 2, prefill=(self.prefill + other.prefill) / 2)


def drift_from(rates: TorchRates, dtype: str, shapes: Shapes = CPU_SHAPES) -> Drift:
    """The drift from `rates` of a processor, in about a fifth of a second."""
    known = Measured(rates=rates, dtype=dtype)
    bench = Bench("cpu", shapes, SLICE_S)
    kind = getattr(torch, dtype)
    weights = [torch.full((shapes.inner, shapes.hidden), 0.01, dtype=kind) for _ in range(shapes.weights)]
    with torch.inference_mode():
        few = _weight_s(bench, weights, torch.full((1, FEW, shapes.hidden), 0.01, dtype=kind))
        many = _weight_s(bench, weights[:2], torch.full((1, MANY, shapes.hidden), 0.01, dtype=kind))
    return Drift(decode=few / known.weight_s(FEW), prefill=many / known.weight_s(MANY))


def _weight_s(bench: Bench, weights: list[torch.Tensor], rows: torch.Tensor) -> float:
    """Seconds per weight of linear layers over these rows."""

    def run() -> None:
        for weight in weights:
            functional.linear(rows, weight)

    seconds: float = median(bench.rounds(run)) / sum(weight.numel() for weight in weights)
    return seconds
