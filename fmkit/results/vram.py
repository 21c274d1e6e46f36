"""The answer of `fmkit vram`: schema fmkit.vram/1."""

from __future__ import annotations

import msgspec

from fmkit.model.quality import QualityLoss
from fmkit.model.text import TextFacts
from fmkit.results.throughput import ThroughputResult
from fmkit.sizing.estimate import Fit, MemoryEstimate
from fmkit.speed.estimate import AttentionShare, SpeedEstimate


class ModelSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The model as it was understood, and how sure we are of its architecture.

    `active_params` count the input embedding, `active_params_without_embedding` don't (unless it is the output head too).
    `licence` is the catalog's or, with a `licence_source`, in the words of whoever published the model. `gated` is None where the Hub was not asked.
    """

    ref: str
    hub_id: str | None
    revision: str | None
    architecture: str
    kind: str
    params: int | None
    active_params: int | None
    max_context_tokens: int | None
    licence: str | None
    active_params_without_embedding: int | None = None
    licence_source: str | None = None
    gated: bool | None = None
    config_confidence: str | None = None
    config_source: str | None = None
    notes: tuple[str, ...] = ()


class MachineSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The machine the answer is for; `usable_bytes` is what one device offers to a model."""

    name: str
    origin: str
    device: str | None
    count: int
    memory_bytes: int
    usable_bytes: int
    free_bytes: int | None
    source: str | None


class Estimate(MemoryEstimate, frozen=True, kw_only=True):
    """A memory estimate with the speed expected beside it."""

    speed: SpeedEstimate | None = None

    @property
    def why_no_speed(self) -> str | None:
        """The warning that says why no speed is expected; None where one is, or where no device is named."""
        return next((warning for warning in self.warnings if warning.startswith("no speed ")), None)


class ApiFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a closed API model instead of a size."""

    provider: str
    input_usd_per_1m: float | None
    output_usd_per_1m: float | None
    cached_input_usd_per_1m: float | None
    context_tokens: int | None
    max_output_tokens: int | None
    status: str
    source: str
    price_date: str | None


class StoredVariant(msgspec.Struct, frozen=True, kw_only=True):
    """One quantisation of a repository of GGUF files; `missing` are the parts of it that are not there."""

    label: str
    file: str
    files: int
    bytes: int
    missing: tuple[str, ...] = ()


class StoredFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The weight files that were looked at, on this disk or on the Hub: sizes of files, tensors listed in headers.

    `not_loaded_bytes` are in the files and not in memory (layers for predicting several tokens, copies of tied tensors).
    """

    layout: str
    format: str | None
    files: int
    file_bytes: int | None
    tensors: int
    tensor_bytes: int | None
    not_loaded_bytes: int = 0
    bytes_by_dtype: dict[str, int] = {}
    components: dict[str, int] = {}
    variants: tuple[StoredVariant, ...] = ()


class PrecisionLoss(msgspec.Struct, frozen=True, kw_only=True):
    """What a precision narrower than 16 bit was measured to cost in quality; `summary` is "unknown" where nobody published it."""

    precision: str
    summary: str
    measurements: tuple[QualityLoss, ...] = ()


class DegreeSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the model can be divided over that many devices in tensor parallel, and if not, why."""

    tensor_parallel: int
    possible: bool
    reason: str | None


class VramResult(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `fmkit vram` prints. `api` is set instead of `estimates` for a model that only an API offers.

    `attention` has one share of the operations for each context and number of sequences; `text` is set where files beside the weights
    were looked at.
    """

    schema: str = "fmkit.vram/1"
    fmkit: str
    catalog: str
    model: ModelSummary
    machine: MachineSummary | None
    verdict: str
    estimates: tuple[Estimate, ...]
    fit: Fit | None = None
    api: ApiFacts | None = None
    stored: StoredFiles | None = None
    text: TextFacts | None = None
    quality_loss: tuple[PrecisionLoss, ...] = ()
    degrees: tuple[DegreeSummary, ...] = ()
    attention: tuple[AttentionShare, ...] = ()
    throughput: ThroughputResult | None = None
    warnings: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
