"""What llama.cpp reaches on this processor: `python -m fmkit.trial.llama_cpp_rates` prints LlamaCppRates as JSON.

The kernels are llama.cpp's own, over Llamas with random weights that are written for it to a temporary folder: for each type of ggml one
whose weights no cache holds, and slim ones for what a layer, a step and the choice of a token take beside their weights.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from fmkit.speed.rates import LayerPoint, LlamaCppRates, RatePoint
from fmkit.subprocesses import die_with_parent
from fmkit.trial.engines.llama_cpp import LlamaCppEngine
from fmkit.trial.request import TrialRequest
from fmkit.trial.synthetic_gguf import LlamaShape, write_llama

KINDS = ("F16", "Q8_0", "Q4_0", "Q5_0", "Q4_K", "Q5_K", "Q6_K")
"""Types of the tensors of nearly all files that people run; of others nothing is said."""

WIDE = LlamaShape(layers=8, hidden=2048, inner=5632, heads=32, kv_heads=8)
"""Of fewer layers a prompt is read up to a third faster per weight than in whole models."""

SLIM = LlamaShape(layers=16, hidden=512, inner=1536, heads=8, kv_heads=2)
"""Not narrower: layers whose threads have next to nothing to do take longer than these."""

SHALLOW = msgspec.structs.replace(SLIM, layers=2)
MANY_WORDS = msgspec.structs.replace(SHALLOW, vocabulary=131072)
BROAD_ATTENTION = LlamaShape(layers=8, hidden=1024, inner=256, heads=16, kv_heads=4)

TOKENS = (1, 2, 4, 16, 64)
"""Tokens at once: one is a step, more are a prompt; of more the time of weights is in proportion."""

MANY_TOKENS = (256,)
"""As many of them as only one type is timed with too, for the rest of a layer: it grows otherwise than the time of weights."""

FEW_TOKENS, SHORT_TOKENS, DEEP_TOKENS = 8, 256, 1024
CONTEXT_TOKENS = 1536
STEPS = 8
REPEATS = 3

LEAST_DIFFERENCE_S = 1e-6
"""What a difference of two times comes to at least."""


def main() -> int:
    """Measure, and print what was found."""
    die_with_parent()
    with tempfile.TemporaryDirectory(prefix="fmkit-rates-") as folder:
        found = measure(Path(folder))
    sys.stdout.buffer.write(msgspec.json.encode(found))
    return 0


def measure(folder: Path) -> LlamaCppRates:
    """All rates; each file leaves the folder as soon as it is loaded."""
    first = KINDS[0]
    slim, shallow, many_words = (Timed(folder, shape, first) for shape in (SLIM, SHALLOW, MANY_WORDS))
    steps = in_turn((slim, shallow, many_words), (1,))
    slim_step_s, shallow_step_s, words_step_s = (steps[timed][1] for timed in (slim, shallow, many_words))
    token_s = max(
        0.0, shallow_step_s - SHALLOW.layers * (slim_step_s - shallow_step_s) / (SLIM.layers - SHALLOW.layers)
    )
    words_s = (words_step_s - shallow_step_s) / (MANY_WORDS.vocabulary - SHALLOW.vocabulary)
    wide = {kind: Timed(folder, WIDE, kind) for kind in KINDS}
    passes = in_turn([timed for each in wide.values() for timed in (slim, each)], TOKENS)
    longer = in_turn((slim, wide[first]), MANY_TOKENS)
    slim_s, wide_s = (passes[timed] | longer[timed] for timed in (slim, wide[first]))
    layers = beside_weights(slim_s, wide_s, token_s)
    weights = [point for kind, timed in wide.items() for point in _weights(kind, passes[timed], layers, token_s)]
    return LlamaCppRates(
        version=version("xllamacpp"),
        threads=slim.threads,
        layers=layers,
        token_s=token_s,
        vocabulary_s=max(0.0, words_s - SHALLOW.hidden / weights[0].per_s),
        weights=tuple(weights),
        attention_macs=tuple(_attention(Timed(folder, BROAD_ATTENTION, first))),
    )


class Timed:
    """A file written and loaded, to be run in; it leaves the folder at once, for it stays mapped."""

    def __init__(self, folder: Path, shape: LlamaShape, kind: str) -> None:
        path = folder / "model.gguf"
        write_llama(path, shape, kind)
        self.shape = shape
        request = TrialRequest(
            model="rates", kind="decoder", config={"vocab_size": shape.vocabulary}, dtype=kind, engine="llama.cpp",
            context_tokens=CONTEXT_TOKENS, folder=str(path),
        )  # fmt: skip
        self._engine = LlamaCppEngine(request)
        self._engine.load()
        path.unlink()
        self.step_s(1)  # touches all pages

    @property
    def threads(self) -> int:
        """How many llama.cpp computes with, 0 where it doesn't say."""
        said = [word for word in self._engine.device.split() if word.isdigit()]
        return int(said[0]) if said else 0

    def pass_s(self, tokens: int) -> float:
        """Seconds of one pass over so many tokens at once: one is a step with next to nothing in the cache, more are a prompt."""
        return self.step_s(FEW_TOKENS) if tokens == 1 else self.prompt_s(tokens)

    def prompt_s(self, tokens: int) -> float:
        """Seconds to read so many tokens."""
        return float(self._asked(tokens, 1)["prompt_ms"]) / 1000

    def step_s(self, context_tokens: int) -> float:
        """Seconds of a step, of several in a row, with so many tokens in the cache."""
        found = self._asked(context_tokens, STEPS + 1)
        return float(found["predicted_ms"]) / (int(found["predicted_n"]) - 1) / 1000

    def _asked(self, tokens: int, new_tokens: int) -> Any:  # noqa: ANN401  JSON
        return self._engine.timings(tokens, new_tokens)


def in_turn(models: Sequence[Timed], tokens: Sequence[int]) -> dict[Timed, dict[int, float]]:
    """Median seconds of each model's passes, by tokens at once.

    The models take turns, one that stands there several times as often: a slow moment of the machine is no more than a part of the rounds.
    """
    rounds: dict[Timed, list[dict[int, float]]] = {}
    for timed in [*models] * REPEATS:
        rounds.setdefault(timed, []).append({count: timed.pass_s(count) for count in tokens})
    return {timed: {count: median(one[count] for one in found) for count in tokens} for timed, found in rounds.items()}


def beside_weights(slim_s: dict[int, float], wide_s: dict[int, float], token_s: float) -> tuple[LayerPoint, ...]:
    """Seconds that a layer takes beside its weights, whatever its width, from passes through two models that differ in width.

    A layer of w weights takes a w + b.
    """
    slim, wide = SLIM.layer_weights, WIDE.layer_weights
    found = []
    for tokens, seconds in slim_s.items():
        slim_layer_s, wide_layer_s = (seconds - token_s) / SLIM.layers, (wide_s[tokens] - token_s) / WIDE.layers
        beside_s = (slim_layer_s * wide - wide_layer_s * slim) / (wide - slim)
        found.append(LayerPoint(tokens=tokens, seconds=max(LEAST_DIFFERENCE_S, beside_s)))
    return tuple(found)


def _weights(kind: str, wide_s: dict[int, float], layers: tuple[LayerPoint, ...], token_s: float) -> list[RatePoint]:
    """Weights per second over each number of tokens."""
    matrices = WIDE.layers * WIDE.layer_weights
    beside_s = {point.tokens: WIDE.layers * point.seconds + token_s for point in layers}
    return [
        RatePoint(dtype=kind, tokens=tokens, per_s=matrices / max(seconds / 2, seconds - beside_s[tokens]))
        for tokens, seconds in wide_s.items()
    ]


def _attention(timed: Timed) -> list[RatePoint]:
    """Multiply-adds per second, from what more tokens in the cache add to a step, and to a prompt beyond its length."""
    shape = timed.shape
    width = 2 * shape.heads * shape.head_dim * shape.layers
    few, short, long = FEW_TOKENS, SHORT_TOKENS, DEEP_TOKENS
    rounds = [
        (timed.step_s(long) - timed.step_s(few), timed.prompt_s(long) - timed.prompt_s(short) * long / short)
        for _ in range(REPEATS)
    ]
    step_s, more_s = (max(LEAST_DIFFERENCE_S, median(found)) for found in zip(*rounds, strict=True))
    pairs = (long * long - short * long) / 2
    return [
        RatePoint(dtype="F16", tokens=1, per_s=width * (long - few) / step_s),
        RatePoint(dtype="F16", tokens=long, per_s=width * pairs / more_s),
    ]


if __name__ == "__main__":
    sys.exit(main())
