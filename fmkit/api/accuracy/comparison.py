"""One figure of one row: predicted with its bounds, and measured."""

from __future__ import annotations

from typing import Literal

import msgspec

Quantity = Literal["weights", "cache", "activations", "total", "process", "decode", "prefill", "throughput", "oom"]

QUANTITIES: tuple[Quantity, ...] = (
    "weights", "cache", "activations", "total", "process", "oom", "decode", "prefill", "throughput",
)  # fmt: skip
"""What can be compared, in the order of printing: bytes, tokens per second, or 0 and 1 for out of memory. `total` is what an engine
allocates, or a device holds; `process` the peak of a trial's whole process."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction held against a measurement, in bytes, tokens per second, or (oom) 1 where memory ran out and 0 where it did not.

    `low` and `high` are the bounds that were stated with the prediction. `note` says what of the measurement was taken
    how. `weights_alone_too_large` is what a rule that counts nothing but weights would have said; None beside other
    quantities.
    """

    measurement_id: str
    quantity: Quantity
    engine: str
    engine_version: str
    device: str
    predicted: float
    low: float
    high: float
    measured: float
    note: str = ""
    weights_alone_too_large: bool | None = None

    @property
    def error(self) -> float:
        """Predicted over measured, less one; for a measured zero the difference."""
        return self.predicted / self.measured - 1 if self.measured else self.predicted - self.measured

    @property
    def covered(self) -> bool:
        """Whether the measurement lies within the stated bounds, by a thousandth: figures are printed rounded."""
        return self.low * 0.999 <= self.measured <= self.high * 1.001
