"""What hardware really reaches: measured efficiency by engine, device class, memory kind and precision (catalog data)."""

from __future__ import annotations

import msgspec


class CoreRates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one core of a CPU was measured to reach, for a processor whose memory and matrix rates nobody measured yet.

    `bandwidth_gb_s` is copy bandwidth per core, in decimal gigabytes per second; `tflops` dense matrix rates per core by number
    format. `most_bandwidth_gb_s` is where more cores no longer help.
    """

    bandwidth_gb_s: float
    most_bandwidth_gb_s: float
    tflops: dict[str, float]
    source: str


class SpeedClass(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Measured efficiency of one engine on one class of hardware and weights.

    `decode_efficiency` is the share of the bandwidth that weight and cache bytes are read at; `prefill_efficiency` is
    2 * active parameters * tokens per second over the dense peak. `token_overhead_s` is the cost of launching one step of a model
    of `overhead_layers` layers, and in proportion for others. With `overlaps` the device reads while the next operation is
    launched (asynchronous kernels): a decode step takes the longer of the two, otherwise their sum.

    `mixture` says whether the row holds for mixtures of experts (True), dense models (False) or both (None). `low_factor` and
    `high_factor` bound the median speed; `points` is how many measurements stand behind the row.
    """

    device_classes: tuple[str, ...]
    memory_kinds: tuple[str, ...] = ()
    vendors: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    mixture: bool | None = None
    decode_efficiency: float
    prefill_efficiency: float
    token_overhead_s: float
    overhead_layers: int = 32
    overlaps: bool = False
    low_factor: float
    high_factor: float
    points: int
    source: str

    def layers_s(self, layers: int) -> float:
        """Seconds to launch one step of a stack of `layers` layers."""
        return self.token_overhead_s * layers / self.overhead_layers

    def step_s(self, layers: int, work_s: float) -> float:
        """Seconds of one decode step of `layers` layers whose weights and cache take `work_s` to read.

        >>> facts = dict(device_classes=("cpu",), decode_efficiency=1, prefill_efficiency=1, token_overhead_s=0.032,
        ...              low_factor=1, high_factor=1, points=0, source="made up")
        >>> SpeedClass(**facts).step_s(4, 0.5), SpeedClass(**facts, overlaps=True).step_s(4, 0.5)
        (0.504, 0.5)
        """
        launch_s = self.layers_s(layers)
        return max(launch_s, work_s) if self.overlaps else launch_s + work_s
