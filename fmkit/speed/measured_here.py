"""Speed of transformers from the calls that were timed on this very machine: no nominal rate is involved.

A pass costs launching its layers, its linear layers at the rate measured for as many tokens at once and their kind of matrix, and attention. On a
CPU one comes after the other; a GPU works while the next kernel is launched. Decoding also copies the cache, which grows by concatenation; a
prompt is normed, rotated and gated, its last token goes through the head, and a state-space model scans it, as a small Mamba was timed to.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from fmkit.model.precision import DTYPE_BYTES
from fmkit.model.spec import StackRole
from fmkit.speed.launches import LLAMA_LAUNCH
from fmkit.speed.matrices import Matrices
from fmkit.speed.operations import TowerPass
from fmkit.speed.rates import Call, ModelPoint, SmallModelName, TorchRates, between_lines, between_logarithms
from fmkit.speed.scan import scan_of

if TYPE_CHECKING:
    from fmkit.speed.scan import Scan

ELEMENTWISE_BYTES = 160
"""Bytes per token, layer and unit of width that norms, rotations, activations and residuals move in 16 bit while a prompt is read:
80 elements (H100, Llama 8B and Qwen2.5 0.5B, 4k to 16k tokens: 44 to 101)."""


class Measured(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The rates of one device for one type; `dtype` is what weights are stored and multiplied in.

    `launch` is what launching a layer of the model takes, as a multiple of the layer that was timed. `matrices` of a tower by its role;
    one that is not there is multiplied like a matrix with more outputs than inputs.
    """

    rates: TorchRates
    dtype: str
    launch: float = LLAMA_LAUNCH
    sequences: int = 1
    matrices: dict[StackRole, Matrices] = {}

    def knows(self) -> bool:
        """Whether this type was timed."""
        return bool(self._points) and self.rates.attention_macs_per_s(self.dtype, 1) is not None

    def knows_scans(self) -> bool:
        """Whether a selective scan was timed in this type, which takes most of a prompt where it is made step by step."""
        return self._scan is not None

    def weight_s(self, tokens: float) -> float:
        """Seconds per weight of a linear layer over `tokens` tokens at once, between the timed numbers of tokens."""
        points = self._points
        most, seconds = points[-1]
        return seconds * tokens / most if tokens > most else between_logarithms(points, tokens)

    def pass_s(self, tower: TowerPass, *, decoding: bool) -> float:
        """Seconds of one pass of all sequences through one tower."""
        rates = self.rates
        found = self.matrices.get(tower.role, Matrices())
        length = 1 if decoding else max(1, tower.tokens // self.sequences)
        macs = rates.attention_macs_per_s(self.dtype, length) or 0.0
        head_s = 0.0 if decoding else self._last_tokens_s(found.head_weights)
        weights = tower.weight_bytes / DTYPE_BYTES[self.dtype] - (found.head_weights if head_s else 0)
        # an expert sees a share of the tokens
        each = max(1.0, self._multiplied(tower) / weights * tower.tokens) if weights > 0 else 1.0
        work_s = max(0.0, weights) * self._mixed_s(each, found) + self._called_s(each, found.calls)
        work_s += tower.attention_operations / 2 / macs + 2 * tower.cache_bytes / rates.copy_bytes_per_s
        work_s += self._activation_s(tower, found) + self._scan_s(tower, found, decoding=decoding)
        work_s += self._expanding_s(tower)
        if not decoding:
            work_s += head_s + self._beside_s(tower, found)
        launch_s = self.launch_s(tower.layers)
        return launch_s + work_s if rates.device == "cpu" else max(launch_s, work_s)

    def launch_s(self, layers: int) -> float:
        """Seconds to launch the operations of so many layers: as in the small Llama, where that was timed."""
        llama = self._llama
        if llama:
            return layers * llama[0].beside_s * self.launch / LLAMA_LAUNCH
        return layers * self.rates.layer_s * self.launch

    @cached_property
    def _llama(self) -> list[ModelPoint]:
        """The points of the small Llama in this type, in ascending order of tokens."""
        return self._points_of("llama")

    def _points_of(self, model: SmallModelName) -> list[ModelPoint]:
        found = (one for one in self.rates.in_model if (one.model, one.dtype) == (model, self.dtype))
        return sorted(found, key=lambda one: one.tokens)

    def _called_s(self, tokens: float, calls: int) -> float:
        """Seconds that so many matrices take inside a model beyond what they take one after the other; 0 where no model was timed.

        Threads have to be woken and instructions fetched for each call: that costs a small matrix as much as a large one.
        """
        points = self._calls_s
        if not points or tokens > points[-1][0]:
            return calls * (points[-1][1] * tokens / points[-1][0] if points else 0.0)
        return calls * between_lines(points, tokens)

    @cached_property
    def _calls_s(self) -> list[tuple[int, float]]:
        """Tokens at once, and seconds that each matrix of the small Llama took beyond what it takes alone."""
        return [(point.tokens, max(0.0, self._call_s(point))) for point in self._llama]

    def _call_s(self, point: ModelPoint) -> float:
        alone_s = self._mixed_s(point.tokens, Matrices(narrowing=point.narrowing))
        return point.layer_weights * (1 / point.per_s - alone_s) / point.layer_matrices

    def _mixed_s(self, tokens: float, found: Matrices) -> float:
        """Seconds per weight over all kinds of matrices of a tower, one call after the other."""
        widening = 1 - found.narrowing - found.transposed
        return self.weight_s(tokens) * (
            widening
            + found.narrowing * self._over_widening("narrowing", tokens)
            + found.transposed * self._over_widening("transposed", tokens)
        )

    def _over_widening(self, call: Call, tokens: float) -> float:
        """Seconds per weight of a kind of matrix over those of a widening one; 1 where it was not timed."""
        timed = min(tokens, self._points[-1][0])
        rate = self.rates.call_per_s(call, self.dtype, timed)
        return 1.0 if rate is None else 1 / (rate * self.weight_s(timed))

    def _last_tokens_s(self, head_weights: int) -> float:
        """Seconds of the head over the last token of each prompt; 0 where it was not timed: it then counts as any matrix."""
        rate = self.rates.call_per_s("last-token", self.dtype, 1)
        more = self.weight_s(self.sequences) / self.weight_s(1)
        return 0.0 if rate is None else more * head_weights / rate

    def _beside_s(self, tower: TowerPass, found: Matrices) -> float:
        """Seconds of what a prompt's layers do beside multiplying, attending and scanning."""
        elements = tower.tokens * max(0, tower.layers - found.scans) * tower.hidden_dim
        llama = self._llama
        if llama:
            most = llama[-1]
            return max(0.0, most.beside_s - llama[0].beside_s) / (most.tokens * most.hidden_dim) * elements
        return ELEMENTWISE_BYTES * DTYPE_BYTES[self.dtype] / 2 * elements / self.rates.copy_bytes_per_s

    def _activation_s(self, tower: TowerPass, found: Matrices) -> float:
        """Seconds of a GELU that is spelt out; 0 where it was not timed."""
        rate = self.rates.call_per_s("new-gelu", self.dtype, tower.tokens)
        return 0.0 if rate is None else tower.tokens * found.activated / rate

    def _scan_s(self, tower: TowerPass, found: Matrices, *, decoding: bool) -> float:
        """Seconds of all layers with a selective scan beside their matrices; 0 where no Mamba was timed.

        Of a decode step those of further sequences: the first one's are in the launching of the layer.
        """
        if not found.scans or self._scan is None:
            return 0.0
        if decoding:
            return (self.sequences - 1) * found.scanned * self._scan.next_element_s
        return self._scan.seconds(
            tokens=tower.tokens, sequences=self.sequences, scans=found.scans, elements=found.scanned
        )

    @cached_property
    def _scan(self) -> Scan | None:
        return scan_of(self._points_of("mamba"))

    def _expanding_s(self, tower: TowerPass) -> float:
        """Seconds of making keys and values of latents anew, a product over as many tokens as are held."""
        most, seconds = self._points[-1]
        return tower.expanding_operations / 2 * seconds / most

    def _multiplied(self, tower: TowerPass) -> float:
        """Weights that each token is multiplied with."""
        beside = tower.attention_operations + tower.expanding_operations
        return (tower.operations - beside) / 2 / max(1, tower.tokens)

    @cached_property
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
