"""Small models in transformers, timed by part: what calls come to inside a model, where caches are cold and Python runs between them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from statistics import median
from typing import Any, ClassVar

import msgspec
import torch
from torch import nn

from fmkit.speed.rates import ModelPoint, RatePoint, SmallModelName, between, spread_of
from fmkit.trial.random_weights import build_random
from fmkit.trial.turns import Round, in_turns

CONTEXT_TOKENS = 16
"""Tokens in the cache before a step."""

MOST_SEQUENCES = 16
"""More tokens at once are a prompt."""

VOCABULARY = 1024


class LlamaShape(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of a Llama: its weights are larger than the caches of a processor's core, and few enough to be timed in a moment."""

    name: ClassVar[SmallModelName] = "llama"
    model_class: ClassVar[str] = "transformers.models.llama.modeling_llama.LlamaModel"
    layer_matrices: ClassVar[int] = 7
    state_elements: ClassVar[int] = 0

    layers: int = 6
    hidden: int = 1024
    inner: int = 2816
    heads: int = 16
    kv_heads: int = 4

    @property
    def attention_dim(self) -> int:
        """Width of all heads of queries."""
        return self.hidden

    @property
    def narrowing_weights(self) -> int:
        """Weights of one layer's matrices with no more outputs than inputs: all but gate and up."""
        return self.hidden * (2 * self.hidden + 2 * self.hidden * self.kv_heads // self.heads + self.inner)

    @property
    def layer_weights(self) -> int:
        """Weights of one layer's matrices.

        >>> LlamaShape().layer_weights
        11272192
        """
        return self.narrowing_weights + 2 * self.hidden * self.inner

    def config(self) -> dict[str, Any]:
        """Its config.json."""
        return {
            "model_type": "llama", "hidden_size": self.hidden, "intermediate_size": self.inner, "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads, "num_key_value_heads": self.kv_heads, "vocab_size": VOCABULARY,
        }  # fmt: skip


class MambaShape(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of a Mamba of one layer: its prompts take so long that nothing beside the layer counts.

    The matrix that the size of a time step comes from counts as part of the scan: it is not called as a module.
    """

    name: ClassVar[SmallModelName] = "mamba"
    model_class: ClassVar[str] = "transformers.models.mamba.modeling_mamba.MambaModel"
    layer_matrices: ClassVar[int] = 3
    attention_dim: ClassVar[int] = 0

    layers: int = 1
    hidden: int = 1024
    state: int = 16

    @property
    def inner(self) -> int:
        """Width of what is scanned."""
        return 2 * self.hidden

    @property
    def state_elements(self) -> int:
        """Elements of the state of one layer and sequence.

        >>> MambaShape().state_elements
        32768
        """
        return self.inner * self.state

    @property
    def time_rank(self) -> int:
        """Width that the step's size is computed from."""
        return self.hidden // 16

    @property
    def narrowing_weights(self) -> int:
        """Weights of the matrices with no more outputs than inputs: into what rules the scan, and out of it."""
        return self.inner * (self.time_rank + 2 * self.state + self.hidden)

    @property
    def layer_weights(self) -> int:
        """Weights of one layer's matrices."""
        return self.narrowing_weights + self.inner * 2 * self.hidden

    def config(self) -> dict[str, Any]:
        """Its config.json."""
        return {
            "model_type": "mamba", "hidden_size": self.hidden, "num_hidden_layers": self.layers, "state_size": self.state,
            "time_step_rank": self.time_rank, "expand": 2, "vocab_size": VOCABULARY,
        }  # fmt: skip


class SmallModel:
    """The model in one type."""

    def __init__(self, dtype: str, shape: LlamaShape | MambaShape | None = None) -> None:
        self.dtype = dtype
        self.shape = shape or LlamaShape()
        module, name = self.shape.model_class.rsplit(".", 1)
        with torch.inference_mode(mode=False):
            self._model = build_random(getattr(import_module(module), name), self.shape.config(), dtype, "cpu")
        self._linear_s = 0.0
        self._started = 0.0
        for part in self._model.modules():
            if isinstance(part, nn.Linear):
                part.register_forward_pre_hook(self._starts)
                part.register_forward_hook(self._ends)

    def steps(self, sequences: int) -> Passes:
        """Passes over the next token of so many sequences."""
        return Passes(self, tokens=sequences, sequences=sequences, passes=self._steps(sequences))

    def prompts(self, tokens: int, sequences: int = 1) -> Passes:
        """Passes over prompts of so many tokens, each from the start."""
        return Passes(self, tokens=tokens * sequences, sequences=sequences, passes=self._prompts(tokens, sequences))

    def passes(self, tokens: Sequence[int]) -> list[Passes]:
        """Passes over each number of tokens at once: so many sequences a step further, or above 16 one prompt of so many tokens."""
        return [self.steps(count) if count <= MOST_SEQUENCES else self.prompts(count) for count in tokens]

    def one_pass(self, passes: Iterator[None]) -> Round:
        """Do one pass: seconds of all layers' matrices, and of all else."""
        self._linear_s = 0.0
        started = time.perf_counter()
        next(passes)
        seconds = time.perf_counter() - started
        return self._linear_s, seconds - self._linear_s

    def _steps(self, sequences: int) -> Iterator[None]:
        token = torch.zeros(sequences, 1, dtype=torch.long)
        out = self._model(torch.zeros(sequences, CONTEXT_TOKENS, dtype=torch.long), use_cache=True)
        cache = "past_key_values" if "past_key_values" in out else "cache_params"
        while True:
            out = self._model(token, use_cache=True, **{cache: out[cache]})
            yield

    def _prompts(self, tokens: int, sequences: int) -> Iterator[None]:
        prompt = torch.zeros(sequences, tokens, dtype=torch.long)
        while True:
            self._model(prompt, use_cache=True)
            yield

    def _starts(self, *_: object) -> None:
        self._started = time.perf_counter()

    def _ends(self, *_: object) -> None:
        self._linear_s += time.perf_counter() - self._started


class Passes:
    """Passes of one kind, to be timed in turns with others: called, it does one."""

    def __init__(self, model: SmallModel, *, tokens: int, sequences: int, passes: Iterator[None]) -> None:
        self.tokens = tokens
        self.sequences = sequences
        self._model = model
        self._passes = passes

    def __call__(self) -> Round:
        """Do one pass."""
        return self._model.one_pass(self._passes)

    def point(self, rounds: Sequence[Round], attention: Sequence[RatePoint]) -> ModelPoint:
        """What rounds of passes came to. `attention` are the rates that it was timed at, to be taken out of a prompt's rest."""
        shape = self._model.shape
        matrices_s, beside_s = (median(part) / shape.layers for part in zip(*rounds, strict=True))
        if self.tokens > self.sequences:
            beside_s = max(beside_s / 2, beside_s - self._attending_s(attention))
        return ModelPoint(
            model=shape.name,
            dtype=self._model.dtype,
            tokens=self.tokens,
            sequences=self.sequences,
            per_s=shape.layer_weights / matrices_s,
            spread=spread_of([sum(one) for one in rounds]),
            beside_s=beside_s,
            layer_matrices=shape.layer_matrices,
            layer_weights=shape.layer_weights,
            hidden_dim=shape.hidden,
            narrowing=shape.narrowing_weights / shape.layer_weights,
            state_elements=shape.state_elements,
        )

    def _attending_s(self, attention: Sequence[RatePoint]) -> float:
        """Seconds that one layer's attention over the prompts takes at the rate it was timed at."""
        length = self.tokens // self.sequences
        rate = between(tuple(attention), self._model.dtype, length)
        return 0.0 if rate is None else self._model.shape.attention_dim * self.tokens * (length + 1) / rate


def points(passes: Sequence[Passes], slice_s: float, attention: Sequence[RatePoint] = ()) -> list[ModelPoint]:
    """One point of each kind of passes, timed in turns."""
    return [each.point(rounds, attention) for each, rounds in zip(passes, in_turns(passes, slice_s), strict=True)]
