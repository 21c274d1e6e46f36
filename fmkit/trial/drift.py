"""How fast this processor is now beside when it was measured: the small Llama of `fmkit hardware measure`, timed again.

The speed of a shared or hot machine changes from minute to minute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import torch

from fmkit.trial.small_models import SmallModel, points

if TYPE_CHECKING:
    from fmkit.speed.rates import ModelPoint, TorchRates
    from fmkit.trial.small_models import LlamaShape

FEW, MANY = 1, 64
"""Tokens at once: a step waits for memory, a prompt for the units that multiply."""

SLICE_S = 0.1


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of a layer now over those in the kept rates: 1.4 means that the machine is 1.4 times as slow as it was."""

    decode: float
    prefill: float

    def with_later(self, other: Drift) -> Drift:
        """The mean of two moments, for what ran between them."""
        return Drift(decode=(self.decode + other.decode) / 2, prefill=(self.prefill + other.prefill) / 2)


def can_tell(rates: TorchRates, dtype: str = "float32") -> bool:
    """Whether the rates have the points that drift is told by."""
    known = {point.tokens for point in rates.in_model if (point.model, point.dtype) == ("llama", dtype)}
    return known >= {FEW, MANY}


class Clock:
    """The Llama, ready to be timed against the rates of a processor; they must have points of it in this type."""

    def __init__(self, rates: TorchRates, dtype: str, shape: LlamaShape | None = None) -> None:
        self._known = {
            point.tokens: point for point in rates.in_model if (point.model, point.dtype) == ("llama", dtype)
        }
        self._attention = rates.attention_macs
        self._llama = SmallModel(dtype, shape)

    def drift(self) -> Drift:
        """The drift at this moment, in about half a second."""
        with torch.inference_mode():  # as the rates were timed
            few, many = points(self._llama.passes((FEW, MANY)), SLICE_S, self._attention)
        return Drift(decode=self._over_known(few), prefill=self._over_known(many))

    def _over_known(self, point: ModelPoint) -> float:
        return _layer_s(point) / _layer_s(self._known[point.tokens])


def _layer_s(point: ModelPoint) -> float:
    """Seconds of a layer of the Llama."""
    return point.layer_weights / point.per_s + point.beside_s
