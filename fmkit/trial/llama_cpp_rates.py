"""What llama.cpp reaches on this processor: `python -m fmkit.trial.llama_cpp_rates` prints LlamaCppRates as JSON.

The kernels are llama.cpp's own, over Llamas with random weights that are written for it to a temporary folder: for each type of ggml one of
three layers, whose weights no cache holds; a narrow one of many layers, for what a layer takes whatever its width, and for attention.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from fmkit.speed.rates import LlamaCppRates, RatePoint
from fmkit.subprocesses import die_with_parent
from fmkit.trial.engines.llama_cpp import LlamaCppEngine
from fmkit.trial.request import TrialRequest
from fmkit.trial.synthetic_gguf import LlamaShape, write_llama

KINDS = ("F16", "Q8_0", "Q4_0", "Q5_0", "Q4_K", "Q5_K", "Q6_K")
"""Types of the tensors of nearly all files that people run; of others nothing is said."""

WIDE = LlamaShape(layers=3, hidden=2048, inner=5632, heads=32, kv_heads=8)
NARROW = LlamaShape(layers=16, hidden=256, inner=256, heads=4, kv_heads=4)
MANY_WORDS = msgspec.structs.replace(NARROW, vocabulary=65536)
BROAD_ATTENTION = LlamaShape(layers=8, hidden=1024, inner=256, heads=16, kv_heads=4)

TOKENS = (1, 2, 4, 16, 64, 128)
"""Tokens of a prompt; of more the time is in proportion."""

STEPS = 8
REPEATS = 3
DEEP_TOKENS = 1024
CONTEXT_TOKENS = 1536


def main() -> int:
    """Measure, and print what was found."""
    die_with_parent()
    with tempfile.TemporaryDirectory(prefix="fmkit-rates-") as folder:
        found = measure(Path(folder))
    sys.stdout.buffer.write(msgspec.json.encode(found))
    return 0


def measure(folder: Path) -> LlamaCppRates:
    """All rates; one file at a time lies in the folder."""
    narrow = Timed(folder, NARROW, "F16")
    shallow = Timed(folder, msgspec.structs.replace(NARROW, layers=2), "F16")
    many_words = Timed(folder, MANY_WORDS, "F16")
    step_s = narrow.step_s(8)
    layer_s = max(0.0, (step_s - shallow.step_s(8)) / (NARROW.layers - 2))
    token_s = max(0.0, step_s - NARROW.layers * layer_s)
    beside_s = 0.0
    weights: list[RatePoint] = []
    for kind in KINDS:
        timed = Timed(folder, WIDE, kind)
        beside_s = beside_s or beside_seconds(narrow, timed, layer_s, token_s)
        weights += _weights(timed, kind, layer_s, token_s, beside_s)
    first_s = 1 / weights[0].per_s
    words = MANY_WORDS.vocabulary - NARROW.vocabulary
    vocabulary_s = max(0.0, (many_words.step_s(8) - step_s) / words - NARROW.hidden * first_s)
    return LlamaCppRates(
        version=version("xllamacpp"),
        threads=narrow.threads,
        layer_s=layer_s,
        token_s=token_s,
        vocabulary_s=vocabulary_s,
        beside_s=beside_s,
        weights=tuple(weights),
        attention_macs=tuple(_attention(Timed(folder, BROAD_ATTENTION, "F16"))),
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

    def prompt_s(self, tokens: int) -> float:
        """Median seconds to read so many tokens."""
        found = [float(self._asked(tokens, 1)["prompt_ms"]) for _ in range(REPEATS)]
        return median(found) / 1000

    def step_s(self, context_tokens: int) -> float:
        """Median seconds of a step, with so many tokens in the cache."""
        found = [self._asked(context_tokens, STEPS + 1) for _ in range(REPEATS)]
        return median(float(each["predicted_ms"]) / (int(each["predicted_n"]) - 1) for each in found) / 1000

    def _asked(self, tokens: int, new_tokens: int) -> Any:  # noqa: ANN401  JSON
        return self._engine.timings(tokens, new_tokens)


def _weights(timed: Timed, kind: str, layer_s: float, token_s: float, beside_s: float) -> list[RatePoint]:
    """Weights per second over each number of tokens: one is a step, more are a prompt."""
    shape = timed.shape
    matrices = shape.layers * shape.layer_weights
    found = []
    for tokens in TOKENS:
        seconds = timed.step_s(8) if tokens == 1 else timed.prompt_s(tokens)
        others_s = shape.layers * (layer_s + beside_s * tokens * shape.hidden) + token_s
        found.append(RatePoint(dtype=kind, tokens=tokens, per_s=matrices / max(seconds / 2, seconds - others_s)))
    return found


def beside_seconds(narrow: Timed, wide: Timed, layer_s: float, token_s: float) -> float:
    """Seconds per token and unit of width of what a layer does beside its matrices, from two models of one type.

    Both read the same prompt. Weights take w seconds each and elements b: W w + E b is the time of each model, and W / E differs.
    """
    tokens = TOKENS[-1]
    times, weights, elements = [], [], []
    for timed in (narrow, wide):
        shape = timed.shape
        times.append(timed.prompt_s(tokens) - shape.layers * layer_s - token_s)
        weights.append(shape.layers * shape.layer_weights)
        elements.append(tokens * shape.layers * shape.hidden)
    found = (times[0] * weights[1] - times[1] * weights[0]) / (elements[0] * weights[1] - elements[1] * weights[0])
    return max(0.0, found)


def _attention(timed: Timed) -> list[RatePoint]:
    """Multiply-adds per second, from what more tokens in the cache add to a step, and to a prompt beyond its length."""
    shape = timed.shape
    width = 2 * shape.heads * shape.head_dim * shape.layers
    step_s = max(1e-9, timed.step_s(DEEP_TOKENS) - timed.step_s(8))
    short, long = 256, DEEP_TOKENS
    more_s = max(1e-9, timed.prompt_s(long) - timed.prompt_s(short) * long / short)
    pairs = (long * long - short * long) / 2
    return [
        RatePoint(dtype="F16", tokens=1, per_s=width * (DEEP_TOKENS - 8) / step_s),
        RatePoint(dtype="F16", tokens=long, per_s=width * pairs / more_s),
    ]


if __name__ == "__main__":
    sys.exit(main())
