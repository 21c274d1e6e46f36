"""One figure of one row: predicted with its bounds, and measured."""

from __future__ import annotations

from typing import Literal

from fmkit.results.accuracy import AccuracyRow

Quantity = Literal["weights", "cache", "activations", "total", "process", "decode", "prefill", "throughput", "oom"]

QUANTITIES: tuple[Quantity, ...] = (
    "weights", "cache", "activations", "total", "process", "oom", "decode", "prefill", "throughput",
)  # fmt: skip
"""What can be compared, in the order of printing: bytes, tokens per second, or 0 and 1 for out of memory. `total` is what an engine
allocates, or a device holds; `process` the peak of a trial's whole process."""


class Comparison(AccuracyRow, frozen=True, kw_only=True):
    """A row of the answer, as it is scored: a prediction held against a measurement.

    `weights_alone_too_large` is what a rule that counts nothing but weights would have said of `oom`; None beside other
    quantities.
    """

    quantity: Quantity
    weights_alone_too_large: bool | None = None

    @property
    def error(self) -> float:
        """Predicted over measured, less one; for a measured zero the difference."""
        return self.predicted / self.measured - 1 if self.measured else self.predicted - self.measured

    @property
    def covered(self) -> bool:
        """Whether the measurement lies within the stated bounds, by a thousandth: figures are printed rounded."""
        return self.low * 0.999 <= self.measured <= self.high * 1.001
