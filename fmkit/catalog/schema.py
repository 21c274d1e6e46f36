"""The types of the catalog's files. Unknown keys are errors; a fact without a source does not get in.

YAML files that people edit:   families/<family>.yaml -> FamilyFile      api/<provider>.yaml -> ApiFile
                               hardware/<vendor>.yaml -> HardwareFile    engines/<engine>.yaml -> EngineFile
                               licences.yaml -> LicenceFile, tasks.yaml -> TaskFile, precisions.yaml -> PrecisionFile, sizes.yaml -> SizeFile
CSV files: quality/loss.csv -> model.quality.QualityLoss; counted in thousands: scores/<benchmark>.csv -> ScoreRow (the file name is the benchmark), prices/*.csv -> selection.facts.CloudPrice, configs/INDEX.csv -> ConfigRow,
                               speed/effects.csv -> EffectRow, speed/spreads.csv -> SpreadRow (fitted: benchmarks/fit_speed.py)
The file name or the key is the id; no id is written inside a file (the loader fills it in).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from fmkit.model.precision import Layout, Precision
from fmkit.selection.facts import (
    LicenceTerms,
    LicenceTopic,
    Modality,
    ReportedBy,
    SizeClass,
    Task,
    Tuning,
)
from fmkit.sizing.engine import EngineSpec
from fmkit.speed.efficiency import CoreRates
from fmkit.speed.parts import Part, Phase, Quantity
from fmkit.speed.scopes import Rung


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A record of a catalog file: frozen, and strict about its keys."""


class ModelEntry(Entry, frozen=True, kw_only=True):
    """One set of weights. What config.json can say (layers, heads, widths) is not repeated here.

    `config` names the file in configs/; `config_of` another model of the catalog with the same architecture, when
    this one has no file of its own. `sources` maps a key of this entry to where the fact was read. `context_tokens` is
    the publisher's limit where config.json says otherwise; `native_context_tokens` is the length it was trained on and
    `extended_context_tokens` what its publisher states with scaled positions (YaRN). `tasks` replaces the family's where it is given.
    `released` is YYYY-MM-DD or YYYY-MM. `quantised` are Hub repositories of these weights in a quantised layout, the
    publisher's own first. `publisher` is for a model that is not of its family's (DistilGPT-2 is of Hugging Face), `answers_directly`
    for one that `thinks` and has a documented mode without thoughts. `training_tokens` are all that a model saw; of one that was trained on
    from another's weights `further_training_tokens` are those that were added to what `base_model` saw.
    """

    hub_id: str
    tuning: Tuning
    publisher: str | None = None
    config: str | None = None
    config_of: str | None = None
    aliases: tuple[str, ...] = ()
    base_model: str | None = None
    released: str | None = None
    context_tokens: int | None = None
    native_context_tokens: int | None = None
    extended_context_tokens: int | None = None
    licence: str | None = None
    tasks: tuple[str, ...] | None = None
    not_for: tuple[str, ...] = ()
    languages: tuple[str, ...] | None = None
    inputs: tuple[Modality, ...] | None = None
    outputs: tuple[str, ...] | None = None
    training_tokens: int | None = None
    further_training_tokens: int | None = None
    domain: str | None = None
    gated: bool | None = None
    needs_fine_tune: bool = False
    thinks: bool = False
    answers_directly: bool = False
    embedding_dim: int | None = None
    quantised: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sources: dict[str, str] = {}


class FamilyFile(Entry, frozen=True, kw_only=True):
    """One family of open-weight models: facts shared by its models, and the models by catalog id."""

    name: str
    publisher: str
    summary: str
    licence: str
    tasks: tuple[str, ...]
    languages: tuple[str, ...]
    inputs: tuple[Modality, ...]
    outputs: tuple[str, ...]
    models: dict[str, ModelEntry]
    training_tokens: int | None = None
    domain: str | None = None
    gated: bool | None = None
    architecture: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    sources: dict[str, str] = {}


class ApiModelEntry(Entry, frozen=True, kw_only=True):
    """One closed model as its provider's API sells it; prices are USD per 1,000,000 tokens, None where unknown.

    `price_date` is the day on which their source had them.
    `tuning` defaults to `reasoning` for a model that thinks before it answers, else to `instruct`. `may_think` is for one that can, and
    of which nothing says that it does unless it is asked to.
    """

    name: str
    tuning: Tuning | None = None
    released: str | None = None
    status: Literal["current", "retired", "legacy"] = "current"
    successor: str | None = None
    input_usd_per_1m: float | None = None
    cached_input_usd_per_1m: float | None = None
    output_usd_per_1m: float | None = None
    price_date: str | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    inputs: tuple[Modality, ...] = ("text",)
    outputs: tuple[str, ...] = ("text",)
    tasks: tuple[str, ...] | None = None
    thinks: bool = False
    may_think: bool = False
    embedding_dim: int | None = None
    aliases: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sources: dict[str, str]


class ApiFile(Entry, frozen=True, kw_only=True):
    """One provider of closed models; `models` by catalog id."""

    provider: str
    licence: str
    tasks: tuple[str, ...]
    languages: tuple[str, ...]
    data_policy: str | None = None
    models: dict[str, ApiModelEntry]
    sources: dict[str, str] = {}


class DeviceEntry(Entry, frozen=True, kw_only=True):
    """One accelerator or CPU class, per memory size sold. Rates are dense peak figures of the vendor.

    `memory` is the nominal size with its unit (`24GiB`); `bandwidth_gb_s` decimal gigabytes per second over `bus_bits`; `tflops` by number
    format (`float16`, `bfloat16`, `float8`, `int8`, `int4`, `float4`, `float32`), of a processor its vector
    units' float32 operations (`vector`: cores x clock x operations a clock). `link_devices` is how many of them a link of their own joins
    (NVLink, Infinity Fabric, Xe Link), 1 where they reach each other over PCIe. `verified` is False where a figure is
    recalled rather than read. `sources` maps a key (or `tflops.float16`) to where it was read; `tflops_product` there is what the rate of
    float16 is held against (`132 SM x 1830 MHz x 4096 FLOP a clock`) where its source works nothing out.
    """

    name: str
    device_class: Literal["consumer", "workstation", "datacentre", "integrated", "edge", "cpu"]
    memory: str | None = None
    bandwidth_gb_s: float | None = None
    bus_bits: int | None = None
    tflops: dict[str, float] = {}
    memory_kind: str | None = None
    unified_memory: bool = False
    power_w: float | None = None
    release_year: int | None = None
    link_devices: int = 1
    aliases: tuple[str, ...] = ()
    verified: bool = True
    notes: tuple[str, ...] = ()
    sources: dict[str, str]


class HardwareFile(Entry, frozen=True, kw_only=True):
    """The devices of one vendor, by device id."""

    vendor: str
    devices: dict[str, DeviceEntry]


class LicenceEntry(LicenceTerms, frozen=True, kw_only=True):
    """One licence.

    A condition is a sentence, or `topic: sentence` where it answers a question: `users: A separate licence is needed above ...`.
    """

    conditions: tuple[str | dict[LicenceTopic, str], ...]


class LicenceFile(Entry, frozen=True, kw_only=True):
    """All licences by id."""

    licences: dict[str, LicenceEntry]


class TaskFile(Entry, frozen=True, kw_only=True):
    """All tasks by id."""

    tasks: dict[str, Task]


class SizeFile(Entry, frozen=True, kw_only=True):
    """All classes of size by id, the smallest first."""

    sizes: dict[str, SizeClass]


class PrecisionFile(Entry, frozen=True, kw_only=True):
    """All precisions by id, and the layouts engines make of them."""

    precisions: dict[str, Precision]
    layouts: dict[str, Layout]


class EngineFile(EngineSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One engine: its memory rules' data, and the rates assumed for a core of a CPU that nobody measured."""

    cpu_core: CoreRates | None = None


class ConfigRow(Entry, frozen=True, kw_only=True):
    """One line of configs/INDEX.csv: where a config.json came from and what its parameters were counted to be.

    `confidence` is `verbatim` (a copy of the published file) or `derived` (assembled from the facts named in `source`).
    `params_meta` is the count of the instantiated model on the meta device, `params_published` the publisher's.
    `match`: y, y-explained, n, unknown.
    """

    hub_id: str
    file: str
    confidence: Literal["verbatim", "derived"]
    source: str
    params_meta: int | None
    params_published: int | None
    match: str
    notes: str = ""


class ScoreRow(Entry, frozen=True, kw_only=True):
    """One line of scores/<benchmark>.csv; `model` is a catalog id. `score` is in `unit`, under the conditions of `variant`."""

    model: str
    variant: str = ""
    score: float
    unit: str
    source: str
    source_date: str
    reported_by: ReportedBy
    notes: str = ""


class EffectRow(Entry, frozen=True, kw_only=True):
    """One line of speed/effects.csv: how much longer (as a logarithm) a part of a pass takes in a scope than nominal rates say.

    `points` is how many measurements lie in the scope.
    """

    phase: Phase
    part: Part
    scope: str
    effect: float
    points: int


class SpreadRow(Entry, frozen=True, kw_only=True):
    """One line of speed/spreads.csv: 80 % of `points` held-out speeds lay between `low` and `high` times the prediction.

    A line with a scope has a width in their place, by which errors in that scope are wider or narrower than others of the basis.
    """

    quantity: Quantity
    basis: Rung
    scope: str = ""
    low: float | None = None
    high: float | None = None
    width: float = 1.0
    points: int


class SpeedFile(Entry, frozen=True, kw_only=True):
    """speed/fit.yaml: when the speed model was fitted, to how many measurements, and which were left out, by reason.

    `measurements` is a digest of the files that it was fitted to; a fit of before there was one has none.
    """

    date: str
    rows: int
    measurements: str = ""
    script: str
    source: str
    left_out: dict[str, int] = {}
