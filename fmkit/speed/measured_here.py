"""Speed of transformers from the calls that were timed on this very machine: no nominal rate is involved.

A pass costs launching its layers, its linear layers at the rate measured for as many tokens at once, and attention. On a CPU one
comes after the other; a GPU works while the next kernel is launched. Decoding also copies the cache, which grows by concatenation.
"""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING

import msgspec

from fmkit.model.precision import DTYPE_BYTES
from fmkit.speed.operations import tower_of

if TYPE_CHECKING:
    from fmkit.model.spec import ModelSpec
    from fmkit.speed.operations import TowerPass
    from fmkit.speed.rates import TorchRates

LAUNCH_PER_LAYER, LAUNCH_PER_NORM = 1.6, 0.2
MIXTURE_LAUNCH, STATE_LAUNCH = 1.2, 1.2
"""Launching a layer of a real model over the narrow layer that is timed: 2.0 to 2.1 for a Llama (two norms), 2.7 for Gemma 3 (six),
3.5 for Qwen3's mixtures, 3.2 for Mamba. transformers 5.23 on an H100 (benchmarks/results/gpu-trials-h100.json) and on a CPU
(models 64 wide); the rest is Python: modules, cache and masks."""

ELEMENTWISE_BYTES = 160
"""Bytes per token, layer and unit of width that norms, rotations, activations and residuals move in 16 bit while a prompt is read:
80 elements (H100, Llama 8B and Qwen2.5 0.5B, 4k to 16k tokens: 44 to 101)."""


def launch_of(spec: ModelSpec) -> float:
    """What launching one layer of the decoder (of the first tower, without one) takes, in layers that were timed.

    Norms tell how many small operations a layer has: two in a Llama, four with norms of queries and keys, six in Gemma 3.
    """
    stack = spec.cached_stack or spec.stacks[0]
    norms = sum(
        one.count
        for one in spec.tensors
        if one.part == "norm" and tower_of(one, spec) == stack.role and one.name.endswith("weight")
    )
    per_layer = min(norms / max(1, stack.layers), 6.0)
    found = LAUNCH_PER_LAYER + LAUNCH_PER_NORM * per_layer
    found += MIXTURE_LAUNCH if spec.is_mixture else 0.0
    return found + (STATE_LAUNCH if spec.kind in ("state-space", "hybrid") else 0.0)


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The rates of one device for one type; `dtype` is what weights are stored and multiplied in.

    `launch` is what launching a layer of the model takes, as a multiple of the layer that was timed.
    """

    rates: TorchRates
    dtype: str
    launch: float = LAUNCH_PER_LAYER + 2 * LAUNCH_PER_NORM

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
