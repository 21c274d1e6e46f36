"""A small Llama in transformers, timed by part: what calls come to inside a model, where caches are cold and Python runs between them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any, NamedTuple

import msgspec
import torch
from torch import nn

from fmkit.speed.rates import ModelPoint, RatePoint, between, spread_of
from fmkit.trial.random_weights import build_random

CONTEXT_TOKENS = 16
"""Tokens in the cache before a step."""

LAYER_MATRICES = 7
MOST_SEQUENCES = 16
"""More tokens at once are a prompt."""

VISITS = 3
LEAST_ROUNDS = 3
TOO_SLOW_S = 0.2
"""A round that takes longer is done once in a visit."""


class LlamaShape(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of the Llama: its weights are larger than the caches of a processor's core, and few enough to be timed in a moment."""

    layers: int = 6
    hidden: int = 1024
    inner: int = 2816
    heads: int = 16
    kv_heads: int = 4

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
            "num_attention_heads": self.heads, "num_key_value_heads": self.kv_heads, "vocab_size": 1024,
        }  # fmt: skip


class Round(NamedTuple):
    """Seconds of all layers' matrices in one pass, and of all else."""

    matrices_s: float
    beside_s: float


class SmallLlama:
    """The Llama in one type. `attention` are the rates that attention was timed at, to be taken out of what is beside the matrices."""

    def __init__(
        self, dtype: str, attention: tuple[RatePoint, ...], slice_s: float, shape: LlamaShape | None = None
    ) -> None:
        from transformers.models.llama.modeling_llama import LlamaModel  # noqa: PLC0415  2 s

        self.dtype = dtype
        self.shape = shape or LlamaShape()
        self._attention = attention
        self._slice_s = slice_s
        with torch.inference_mode(mode=False):
            self._model = build_random(LlamaModel, self.shape.config(), dtype, "cpu")
        self._linear_s = 0.0
        self._started = 0.0
        for module in self._model.modules():
            if isinstance(module, nn.Linear):
                module.register_forward_pre_hook(self._starts)
                module.register_forward_hook(self._ends)

    def points(self, tokens: Sequence[int], visits: int = VISITS) -> list[ModelPoint]:
        """One point for each number of tokens at once: so many sequences a step further, or above 16 a prompt of so many tokens.

        Each number is visited several times, some seconds apart: what disturbs one visit is no more than a part of the rounds.
        """
        rounds: dict[int, list[Round]] = {count: [] for count in tokens}
        with torch.inference_mode():
            for _ in range(visits):
                for count in tokens:
                    rounds[count] += self._rounds(count, self._slice_s / visits)
        return [self._point(count, rounds[count]) for count in tokens]

    def _point(self, tokens: int, rounds: list[Round]) -> ModelPoint:
        matrices_s = median(one.matrices_s for one in rounds) / self.shape.layers
        beside_s = median(one.beside_s for one in rounds) / self.shape.layers
        if tokens > MOST_SEQUENCES:
            beside_s = max(beside_s / 2, beside_s - self._attending_s(tokens))
        return ModelPoint(
            dtype=self.dtype,
            tokens=tokens,
            per_s=self.shape.layer_weights / matrices_s,
            spread=spread_of([one.matrices_s + one.beside_s for one in rounds]),
            beside_s=beside_s,
            layer_matrices=LAYER_MATRICES,
            layer_weights=self.shape.layer_weights,
            hidden_dim=self.shape.hidden,
            narrowing=self.shape.narrowing_weights / self.shape.layer_weights,
        )

    def _attending_s(self, tokens: int) -> float:
        """Seconds that one layer's attention over a prompt takes at the rate it was timed at."""
        rate = between(self._attention, self.dtype, tokens)
        return 0.0 if rate is None else self.shape.hidden * tokens * (tokens + 1) / rate

    def _rounds(self, tokens: int, slice_s: float) -> list[Round]:
        """Passes over and over, for about `slice_s` seconds; the first does not count."""
        runs = self._steps(tokens) if tokens <= MOST_SEQUENCES else self._prompts(tokens)
        next(runs)
        found: list[Round] = []
        end = time.perf_counter() + slice_s
        while len(found) < LEAST_ROUNDS or time.perf_counter() < end:
            self._linear_s = 0.0
            started = time.perf_counter()
            next(runs)
            seconds = time.perf_counter() - started
            found.append(Round(self._linear_s, seconds - self._linear_s))
            if seconds > TOO_SLOW_S:
                break
        return found

    def _steps(self, sequences: int) -> Iterator[None]:
        from transformers import DynamicCache  # noqa: PLC0415

        token = torch.zeros(sequences, 1, dtype=torch.long)
        cache = DynamicCache(config=self._model.config)
        self._model(torch.zeros(sequences, CONTEXT_TOKENS, dtype=torch.long), past_key_values=cache, use_cache=True)
        while True:
            self._model(token, past_key_values=cache, use_cache=True)
            yield

    def _prompts(self, tokens: int) -> Iterator[None]:
        prompt = torch.zeros(1, tokens, dtype=torch.long)
        while True:
            self._model(prompt, use_cache=True)
            yield

    def _starts(self, *_: object) -> None:
        self._started = time.perf_counter()

    def _ends(self, *_: object) -> None:
        self._linear_s += time.perf_counter() - self._started
