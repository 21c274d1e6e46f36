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

    `decode_efficiency` is measured speed over bandwidth / (weight + cache bytes read); `prefill_efficiency` is 2 * active
    parameters * tokens per second over the dense peak; `token_overhead_s` a fixed cost per token. `low` and `high` bound them
    as factors of the median speed; `points` is how many measurements stand behind the row.
    """

    device_classes: tuple[str, ...]
    memory_kinds: tuple[str, ...] = ()
    vendors: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    decode_efficiency: float
    prefill_efficiency: float
    token_overhead_s: float
    low_factor: float
    high_factor: float
    points: int
    source: str
