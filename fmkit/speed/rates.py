"""What one machine was measured to reach: the answer of `fmkit hardware measure`, and what the speed model reads from it."""

from __future__ import annotations

from math import log
from typing import Literal

import msgspec

DiskKind = Literal["nvme", "ssd", "disk"]
DISK_NAMES: dict[DiskKind | None, str] = {
    "nvme": "an NVMe disk", "ssd": "a SATA or flash disk", "disk": "a rotating disk", None: "a disk of unknown kind",
}  # fmt: skip


class RatePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One measured rate: `per_s` of what the field it stands in says, with `tokens` processed at once in `dtype`.

    `spread` is (third quartile - first quartile) / median of the repeats: 0 on an idle machine.
    """

    dtype: str
    tokens: int
    per_s: float
    spread: float = 0.0


class TorchRates(msgspec.Struct, frozen=True, kw_only=True):
    """Rates of PyTorch calls in the shapes that models use, on weights that no cache holds.

    `weight_bytes` are bytes of weights per second of a linear layer over a few tokens (decoding); `operations` are floating-point
    operations per second of a linear layer over many tokens (a prompt); `attention_macs` are multiply-adds per second of
    `scaled_dot_product_attention`, with 1 query token over a cache, or with a prompt's tokens over themselves. `layer_s` is the time
    of all operations of one decoder layer that is too narrow for its weights to cost anything: what launching it costs.
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

    def attention_macs_per_s(self, dtype: str, tokens: int) -> float | None:
        """Multiply-adds per second of attention with `tokens` query tokens in `dtype`."""
        return between(self.attention_macs, dtype, tokens)


class MachineRates(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured on one machine, and under which conditions.

    `read_bytes_per_s` and `copy_bytes_per_s` (read plus written) are the processor's, over all cores allowed to this process, without
    torch; `torch` has one entry per device that torch was measured on. `warnings` says what makes the figures doubtful: a busy
    machine, repeats far apart. `disk_read_bytes_per_s` is of a file on the disk that models are kept on, None where it was not measured.
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

    def on(self, *, cpu: bool) -> TorchRates | None:
        """What torch was measured to reach on the processor, or on the accelerator; None where it was not."""
        return next((rates for rates in self.torch if (rates.device == "cpu") == cpu), None)


def between(points: tuple[RatePoint, ...], dtype: str, tokens: int) -> float | None:
    """The rate at `tokens`, on a straight line between the measured neighbours in the logarithm of tokens; flat outside.

    >>> measured = (RatePoint(dtype="float32", tokens=1, per_s=20.0), RatePoint(dtype="float32", tokens=4, per_s=10.0))
    >>> [between(measured, "float32", tokens) for tokens in (1, 2, 64)], between(measured, "float16", 1)
    ([20.0, 15.0, 10.0], None)
    """
    known = sorted((point.tokens, point.per_s) for point in points if point.dtype == dtype)
    if not known:
        return None
    below = [pair for pair in known if pair[0] <= tokens] or known[:1]
    above = [pair for pair in known if pair[0] >= tokens] or known[-1:]
    (low, low_rate), (high, high_rate) = below[-1], above[0]
    if low == high:
        return low_rate
    share = log(max(tokens, 1) / low) / log(high / low)
    return low_rate + share * (high_rate - low_rate)
