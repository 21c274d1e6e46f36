"""The answer of the speed model: always a range, and the basis it rests on."""

from __future__ import annotations

from typing import Literal

import msgspec


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with its uncertainty: low <= median <= high, in the unit its name says."""

    low: float
    median: float
    high: float

    def times(self, factor: float) -> Range:
        """The figure multiplied by what is known."""
        return Range(low=self.low * factor, median=self.median * factor, high=self.high * factor)

    def inverse(self) -> Range:
        """The time that a rate means, or the rate that a time does: the fastest is the shortest.

        >>> Range(low=2.0, median=4.0, high=5.0).inverse()
        Range(low=0.2, median=0.25, high=0.5)
        """
        return Range(low=1 / self.high, median=1 / self.median, high=1 / self.low)


SpeedBasis = Literal["measured-here", "measured-device", "class", "extrapolated"]

Bound = Literal["bandwidth", "compute", "overhead"]


class FigureBasis(msgspec.Struct, frozen=True, kw_only=True):
    """What one figure rests on, and how many published measurements of the engine on the device, with weights of that kind, are behind it.

    Where trials on this machine corrected it, `points` are those; it is 0 where calls timed here stand for all of them.
    """

    basis: SpeedBasis
    points: int


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """How this machine's own trials corrected an estimate: ids of the trials, and measured over predicted as it was applied.

    A factor is None where no trial says enough of it. `without` is the basis of the estimate before.
    """

    trials: tuple[str, ...]
    models: int
    prefill_factor: float | None
    decode_factor: float | None
    without: SpeedBasis


class LoadEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """The first load of the weights from disk: bytes of files, seconds, whether the disk was measured, and at which rate."""

    file_bytes: int
    seconds: Range
    basis: Literal["measured", "assumed"]
    reason: str


class SpeedEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """Speed of one model on one machine at one workload.

    `ttft_s` is the time to the first token (seconds); `decode_tokens_per_s` is per sequence; `throughput_tokens_per_s`
    counts generated tokens of all sequences; `images_per_s` is what the image tower takes in, `texts_per_s` the inputs that an encoder
    reads, of all sequences; `real_time_factor` is seconds of work per second of sound. A figure that does
    not apply to the kind of model is None. For a model that does not decode, `ttft_s` is one pass of all its towers.
    `basis` is that of decoding (of a pass, where nothing decodes); `decode_basis` is what decoding, throughput and energy rest on,
    `prefill_basis` the first token and all that is read. `bound` says what the decode step waits for: memory, the matrix units, or launching.
    `reason` says which share of the device's rates that comes to, and where it was measured.
    `energy_j_per_1k_tokens` is what the devices take for 1,000 generated tokens of all sequences (joules; the host is not counted), None
    where their power is not known. `load` is the first load from disk, without the engine's own start. `calibration` is set where trials on this machine corrected the figures.
    """

    ttft_s: Range | None
    prefill_tokens_per_s: Range | None
    decode_tokens_per_s: Range | None
    throughput_tokens_per_s: Range | None
    basis: SpeedBasis
    bound: Bound
    reason: str
    images_per_s: Range | None = None
    texts_per_s: Range | None = None
    real_time_factor: Range | None = None
    energy_j_per_1k_tokens: Range | None = None
    load: LoadEstimate | None = None
    calibration: Calibration | None = None
    prefill_basis: FigureBasis | None = None
    decode_basis: FigureBasis | None = None


class AttentionShare(msgspec.Struct, frozen=True, kw_only=True):
    """Operations of one workload: of reading the prompt (every tower) and of one decode step, all of them and attention's own.

    A share is attention's part, from 0 to 1; `decode_share` is None for a model that does not decode. `score_bytes` are the matrices of
    tokens x tokens that are in memory at once: 0 with a fused kernel, None where that is not known. `order` says how attention grows with the tokens n.
    """

    context_tokens: int
    sequences: int
    prefill_operations: float
    prefill_attention_operations: float
    prefill_share: float
    decode_operations: float | None
    decode_attention_operations: float | None
    decode_share: float | None
    score_bytes: int | None
    order: str
    formula: str
