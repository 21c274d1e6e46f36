"""Speed of transformers from the calls that were timed on this very machine: no nominal rate is involved.

A pass costs launching its layers, its linear layers at the rate measured for as many tokens at once, and attention. On a CPU one
comes after the other; a GPU works while the next kernel is launched. Decoding also copies the cache, which grows by concatenation.
"""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING

import msgspec

from fmkit.model.precision import DTYPE_BYTES
from fmkit.speed.launches import LLAMA_LAUNCH

if TYPE_CHECKING:
    from fmkit.speed.operations import TowerPass
    from fmkit.speed.rates import TorchRates

ELEMENTWISE_BYTES = 160
"""Bytes per token, layer and unit of width that norms, rotations, activations and residuals move in 16 bit while a prompt is read:
80 elements (H100, Llama 8B and Qwen2.5 0.5B, 4k to 16k tokens: 44 to 101)."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The rates of one device for one type; `dtype` is what weights are stored and multiplied in.

    `launch` is what launching a layer of the model takes, as a multiple of the layer that was timed.
    """

    rates: TorchRates
    dtype: str
    launch: float = LLAMA_LAUNCH

    def knows(self) -> bool:
        """Whether this type was timed."""
        return bool(self._points()) and self.rates.attention_macs_per_s(self.dtype, 1) is not None

    def weight_s(self, tokens: float) -> float:
        """Seconds per weight of a linear layer over `tokens` tokens at once, between the timed numbers of tokens."""
        points = self._points()
        below = [point for point in points if point[0] <= tokens] or points[:1]
        above = [point for point in points if point[0] >= tokens]
        if not above:
            most, seconds = points[-1]
            return seconds * tokens / most
        (low, low_s), (high, high_s) = below[-1], above[0]
        if low == high:
            return low_s
        share = log(tokens / low) / log(high / low)
        return exp(log(low_s) + share * (log(high_s) - log(low_s)))

    def pass_s(self, tower: TowerPass, *, decoding: bool) -> float:
        """Seconds of one pass of all sequences through one tower."""
        rates = self.rates
        macs = rates.attention_macs_per_s(self.dtype, 1 if decoding else tower.tokens) or 0.0
        weights = tower.weight_bytes / DTYPE_BYTES[self.dtype]
        each = (
            self._multiplied(tower) / weights * tower.tokens if weights else 0.0
        )  # an expert sees its share of the tokens
        linear_s = weights * self.weight_s(max(1.0, each))
        work_s = linear_s + tower.attention_operations / 2 / macs + 2 * tower.cache_bytes / rates.copy_bytes_per_s
        if not decoding:
            moved = ELEMENTWISE_BYTES * DTYPE_BYTES[self.dtype] / 2 * tower.tokens * tower.layers * tower.hidden_dim
            work_s += moved / rates.copy_bytes_per_s
        launch_s = self.launch_s(tower.layers)
        return launch_s + work_s if rates.device == "cpu" else max(launch_s, work_s)

    def launch_s(self, layers: int) -> float:
        """Seconds to launch the operations of so many layers."""
        return layers * self.rates.layer_s * self.launch

    def _multiplied(self, tower: TowerPass) -> float:
        """Weights that each token is multiplied with."""
        return (tower.operations - tower.attention_operations) / 2 / max(1, tower.tokens)

    def _points(self) -> list[tuple[int, float]]:
        """Tokens at once and seconds per weight, in ascending order."""
        element_bytes = DTYPE_BYTES[self.dtype]
        few = [
            (point.tokens, element_bytes / point.per_s)
            for point in self.rates.weight_bytes
            if point.dtype == self.dtype
        ]
        many = [
            (point.tokens, 2 * point.tokens / point.per_s)
            for point in self.rates.operations
            if point.dtype == self.dtype
        ]
        return sorted([*few, *many])
