"""What one machine was measured to reach: the answer of `fmkit hardware measure`, and what the speed model reads from it."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log
from statistics import quantiles
from typing import Literal

import msgspec

DiskKind = Literal["nvme", "ssd", "disk"]
DISK_NAMES: dict[DiskKind | None, str] = {
    "nvme": "an NVMe disk", "ssd": "a SATA or flash disk", "disk": "a rotating disk", None: "a disk of unknown kind",
}  # fmt: skip

LEAST_FOR_SPREAD = 4


class RatePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One measured rate: `per_s` of what the field it stands in says, with `tokens` processed at once in `dtype`.

    `spread` is (third quartile - first quartile) / median of the repeats: 0 on an idle machine.
    """

    dtype: str
    tokens: int
    per_s: float
    spread: float = 0.0


Call = Literal["narrowing", "transposed", "last-token", "new-gelu"]
"""Calls of models on a processor beside those that every device is timed with. Units per second: weights of a matrix with no more outputs
than inputs, of one that lies transposed (GPT-2's Conv1D), and of the head over the last token of a prompt; elements that the GELU of GPT-2
and Phi takes, which transformers spells out."""

SmallModelName = Literal["llama", "mamba"]


class CallPoint(RatePoint, frozen=True, kw_only=True):
    """A measured rate of a call, in the unit that `call` has."""

    call: Call


class ModelPoint(RatePoint, frozen=True, kw_only=True):
    """What a small model reaches as transformers runs it, `tokens` at once, of all `sequences` together.

    `per_s` are weights of its matrices per second, `beside_s` seconds of a layer beside matrices and attention. What follows describes the
    model: `narrowing` is the share of weights in matrices with no more outputs than inputs, `state_elements` those of a layer's state of one
    sequence.
    """

    beside_s: float
    layer_matrices: int
    layer_weights: int
    hidden_dim: int
    narrowing: float
    model: SmallModelName = "llama"
    sequences: int = 1
    state_elements: int = 0


class TorchRates(msgspec.Struct, frozen=True, kw_only=True):
    """Rates of PyTorch calls in the shapes that models use, on weights that no cache holds.

    `weight_bytes` are bytes of weights per second of a linear layer over a few tokens (decoding); `operations` are floating-point
    operations per second of a linear layer over many tokens (a prompt); `attention_macs` are multiply-adds per second of
    `scaled_dot_product_attention`, with 1 query token over a cache, or with a prompt's tokens over themselves. `layer_s` is the time
    of all operations of one decoder layer that is too narrow for its weights to cost anything: what launching it costs. `in_model` is what
    the calls come to inside a model (a processor only, which finds neither weights nor its own instructions in the caches there).
    """

    device: Literal["cpu", "cuda", "mps", "xpu"]
    device_name: str
    version: str
    threads: int
    layer_s: float
    weight_bytes: tuple[RatePoint, ...]
    operations: tuple[RatePoint, ...]
    attention_macs: tuple[RatePoint, ...]
    copy_bytes_per_s: float
    host_to_device_bytes_per_s: float | None = None
    calls: tuple[CallPoint, ...] = ()
    in_model: tuple[ModelPoint, ...] = ()
    date: str = ""

    def call_per_s(self, call: Call, dtype: str, tokens: float) -> float | None:
        """The rate of a call over so many tokens at once, None where it was not timed; flat outside of what was timed."""
        points = sorted(
            (point.tokens, point.per_s) for point in self.calls if (point.call, point.dtype) == (call, dtype)
        )
        return None if not points else 1 / between_logarithms([(at, 1 / rate) for at, rate in points], tokens)

    def attention_macs_per_s(self, dtype: str, tokens: int) -> float | None:
        """Multiply-adds per second of attention with `tokens` query tokens in `dtype`."""
        return between(self.attention_macs, dtype, tokens)


class LayerPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of a layer beside its matrices, over so many tokens at once."""

    tokens: int
    seconds: float


class LlamaCppRates(msgspec.Struct, frozen=True, kw_only=True):
    """Rates of llama.cpp on the processor, from small Llamas in GGUF files written to be timed.

    `weights` are weights per second of all matrices of a model over so many tokens at once, `dtype` being ggml's name of their type;
    `layers` what a layer takes beside them, whatever its width. `token_s` is what a step takes beside its layers, `vocabulary_s` that of
    choosing from one more entry of the vocabulary. `attention_macs` are multiply-adds per second of attention with 1 query token over a
    cache, or with a prompt's.
    """

    version: str
    threads: int
    layers: tuple[LayerPoint, ...]
    token_s: float
    vocabulary_s: float
    weights: tuple[RatePoint, ...]
    attention_macs: tuple[RatePoint, ...]
    date: str = ""


class MachineRates(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured on one machine, and under which conditions.

    `date` is that of the bandwidths; `torch` and `llama_cpp` may be of an earlier measurement, and have a date of their own then.
    `read_bytes_per_s` and `copy_bytes_per_s` (read plus written) are the processor's, over all cores allowed to this process, without
    torch; `torch` has one entry per device that torch was measured on. `warnings` says what makes the figures doubtful: a busy
    machine, repeats far apart. `disk_read_bytes_per_s` is of a file on the disk that models are kept on, None where it was not measured; `llama_cpp` is None without
    xllamacpp. `doubt` is why the machine was not itself (busy, slower than before) when it was measured all the same.
    """

    machine: str
    date: str
    seconds: float
    cores: int | None
    read_bytes_per_s: float
    copy_bytes_per_s: float
    torch: tuple[TorchRates, ...] = ()
    warnings: tuple[str, ...] = ()
    disk_read_bytes_per_s: float | None = None
    llama_cpp: LlamaCppRates | None = None
    doubt: str | None = None

    def on(self, *, cpu: bool) -> TorchRates | None:
        """What torch was measured to reach on the processor, or on the accelerator; None where it was not."""
        return next((rates for rates in self.torch if (rates.device == "cpu") == cpu), None)

    def timed_on(self, engine: str, *, cpu: bool) -> str:
        """The date of the calls that an engine's speed is predicted from on the processor or the accelerator; empty without any."""
        part = self.llama_cpp if engine == "llama.cpp" else self.on(cpu=cpu)
        return "" if part is None else part.date or self.date


def spread_of(rounds: Sequence[float]) -> float:
    """Middle half of the repeats over their median; 0 of fewer than four.

    >>> spread_of([1.0, 1.0, 1.0, 1.0]), spread_of([1.0, 2.0, 3.0, 4.0])
    (0.0, 1.0)
    """
    if len(rounds) < LEAST_FOR_SPREAD:
        return 0.0
    low, middle, high = quantiles(rounds, n=4)
    return round((high - low) / middle, 4)


def between_logarithms(points: Sequence[tuple[int, float]], tokens: float) -> float:
    """Seconds at `tokens`, on a straight line between the measured neighbours in logarithms of both; flat outside. `points` ascend.

    >>> between_logarithms([(1, 1.0), (4, 4.0)], 2), between_logarithms([(1, 1.0), (4, 4.0)], 64)
    (2.0, 4.0)
    """
    below = [point for point in points if point[0] <= tokens] or points[:1]
    above = [point for point in points if point[0] >= tokens] or points[-1:]
    (low, low_s), (high, high_s) = below[-1], above[0]
    if low == high:
        return low_s
    share = log(tokens / low) / log(high / low)
    return exp(log(low_s) + share * (log(high_s) - log(low_s)))


def proportional_beyond(points: Sequence[tuple[int, float]], tokens: float) -> float:
    """The same between the measured points, and in proportion to the tokens beyond the most of them.

    >>> [proportional_beyond([(1, 1.0), (4, 4.0)], tokens) for tokens in (1, 2, 64)]
    [1.0, 2.0, 64.0]
    """
    most, seconds = points[-1]
    return seconds * tokens / most if tokens > most else between_logarithms(points, tokens)


def between_lines(points: Sequence[tuple[int, float]], tokens: float) -> float:
    """Seconds at `tokens`, on a straight line between the measured neighbours in the logarithm of tokens; flat outside. `points` ascend.

    >>> [between_lines([(1, 20.0), (4, 10.0)], tokens) for tokens in (1, 2, 64)]
    [20.0, 15.0, 10.0]
    """
    below = [pair for pair in points if pair[0] <= tokens] or points[:1]
    above = [pair for pair in points if pair[0] >= tokens] or points[-1:]
    (low, low_s), (high, high_s) = below[-1], above[0]
    if low == high:
        return low_s
    share = log(max(tokens, 1) / low) / log(high / low)
    return low_s + share * (high_s - low_s)


def between(points: tuple[RatePoint, ...], dtype: str, tokens: int) -> float | None:
    """The same of rates measured in one type, None where there are none.

    >>> measured = (RatePoint(dtype="float32", tokens=1, per_s=20.0), RatePoint(dtype="float32", tokens=4, per_s=10.0))
    >>> between(measured, "float32", 2), between(measured, "float16", 1)
    (15.0, None)
    """
    known = sorted((point.tokens, point.per_s) for point in points if point.dtype == dtype)
    return between_lines(known, tokens) if known else None
