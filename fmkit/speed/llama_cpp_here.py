"""Speed of llama.cpp on this processor, from its own kernels as they were timed here over small Llamas in each type of ggml.

A pass costs its weights at the rate of their type for as many tokens at once, attention, its layers, and a step with its choice of a token. A
prompt is read in steps of 512 tokens; only its last token goes through the head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.model.gguf_lineages import GGUF_PREFIX
from fmkit.model.gguf_mix import STORED, mixed
from fmkit.speed.rates import LlamaCppRates, between, proportional_beyond

if TYPE_CHECKING:
    from fmkit.model.precision import Layout
    from fmkit.model.spec import ModelSpec
    from fmkit.speed.operations import TowerPass

STEP_TOKENS = 512
"""Tokens of a prompt that are multiplied together: llama.cpp's `--ubatch-size`."""

MATRIX_DIMS = 2

CACHE_TYPE = "F16"
"""The type of the cache that attention is timed with: llama.cpp's default."""


class MeasuredLlamaCpp(msgspec.Struct, frozen=True, kw_only=True):
    """The rates, and the model's weights by type: those of its layers, and those of the head."""

    rates: LlamaCppRates
    layer_weights: dict[str, int]
    head_weights: dict[str, int]
    vocabulary: int
    sequences: int = 1

    def pass_s(self, tower: TowerPass, *, decoding: bool) -> float:
        """Seconds of one pass of all sequences through the decoder."""
        whole, rest = (0, tower.tokens) if decoding else divmod(tower.tokens, STEP_TOKENS)
        steps = [STEP_TOKENS] * whole + ([rest] if rest else [])
        length = 1 if decoding else tower.tokens // self.sequences
        macs = between(self.rates.attention_macs, CACHE_TYPE, length)
        assert macs is not None  # llama_cpp_here takes no rates without
        head_s = sum(count * self._weight_s(kind, self.sequences) for kind, count in self.head_weights.items())
        return (
            sum(
                self._matrices_s(tokens) + self._beside_s(tower.layers, tokens) + self.rates.token_s for tokens in steps
            )
            + tower.attention_operations / 2 / macs
            + head_s
            + self.sequences * self.vocabulary * self.rates.vocabulary_s
        )

    def launch_s(self, layers: int) -> float:
        """Seconds of what layers take beside their matrices, over one token."""
        return self._beside_s(layers, 1)

    def _beside_s(self, layers: int, tokens: int) -> float:
        return layers * proportional_beyond([(point.tokens, point.seconds) for point in self.rates.layers], tokens)

    def _matrices_s(self, tokens: int) -> float:
        return sum(count * self._weight_s(kind, tokens) for kind, count in self.layer_weights.items())

    def _weight_s(self, kind: str, tokens: int) -> float:
        """Seconds per weight of a type over so many tokens at once."""
        return proportional_beyond(
            [(point.tokens, 1 / point.per_s) for point in self.rates.weights if point.dtype == kind], tokens
        )


def llama_cpp_here(spec: ModelSpec, layout: Layout, rates: LlamaCppRates, sequences: int) -> MeasuredLlamaCpp | None:
    """The model on these rates; None where they do not cover it: a mixture, a state, another tower, a type or attention that was not timed."""
    if (
        spec.kind != "decoder"
        or spec.is_mixture
        or len(spec.stacks) > 1
        or between(rates.attention_macs, CACHE_TYPE, 1) is None
    ):
        return None
    timed = {point.dtype for point in rates.weights}
    file_type = STORED if spec.model_type.startswith(GGUF_PREFIX) else layout.file_type
    if file_type is None:
        return None
    tensors = mixed(spec, file_type)
    tied = all(one.tensor.name != "output.weight" for one in tensors)
    layers: dict[str, int] = {}
    head: dict[str, int] = {}
    for one in tensors:
        name, kind = one.tensor.name, one.kind.name
        is_head = name == ("token_embd.weight" if tied else "output.weight")
        if len(one.tensor.dims) < MATRIX_DIMS or (one.tensor.is_input and not is_head):
            continue
        if kind not in timed:
            return None
        chosen = head if is_head else layers
        chosen[kind] = chosen.get(kind, 0) + one.tensor.elements * one.tensor.count
    return MeasuredLlamaCpp(
        rates=rates, layer_weights=layers, head_weights=head, vocabulary=spec.vocab_size or 0, sequences=sequences
    )
