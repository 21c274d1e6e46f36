"""Entries of the files -> the types of the other packages: units become bytes, families' facts reach their models."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fmkit.machine import Device
from fmkit.selection.facts import ApiTerms, Candidate, Licence, LicenceTerms, Score
from fmkit.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fmkit.catalog.schema import (
        ApiFile,
        ApiModelEntry,
        ConfigRow,
        DeviceEntry,
        FamilyFile,
        LicenceEntry,
        ModelEntry,
        ScoreRow,
    )
    from fmkit.catalog.training import Training
    from fmkit.model.spec import ModelSpec
    from fmkit.selection.facts import LicenceTopic, Traits, Tuning

TUNING_NAMED: dict[Tuning, re.Pattern[str]] = {
    "base": re.compile(r"\db-([\w.]+-)*base\b"),
    "instruct": re.compile(r"\b(instruct|chat|it)\b"),
    "reasoning": re.compile(r"\b(think|thinking|reasoning)\b"),
    "embedding": re.compile(r"\b(embed|embedding)\b"),
    "task-tuned": re.compile(r"\breranker\b"),
}
"""How publishers name what a model was tuned to; a `base` that is a size (bert-base, t5-base) has none before it."""


def device(device_id: str, vendor: str, entry: DeviceEntry) -> Device:
    """A device in bytes, bytes/s and flops/s.

    GB/s are decimal: 1 GB/s = 10**9 bytes/s; 1 TFLOPS = 10**12 operations/s; `memory` names its own unit.
    """
    return Device(
        id=device_id,
        name=entry.name,
        vendor=vendor,
        device_class=entry.device_class,
        memory_bytes=None if entry.memory is None else parse_size(entry.memory, where=device_id),
        bandwidth_bytes_per_s=None if entry.bandwidth_gb_s is None else round(entry.bandwidth_gb_s * 1e9),
        flops_per_s={number_format: round(rate * 1e12, 0) for number_format, rate in entry.tflops.items()},
        memory_kind=entry.memory_kind,
        unified_memory=entry.unified_memory,
        power_w=entry.power_w,
        release_year=entry.release_year,
        link_devices=entry.link_devices,
        sources=entry.sources,
        verified=entry.verified,
    )


def licence(licence_id: str, entry: LicenceEntry) -> Licence:
    """A licence with its conditions as sentences, and those with a topic also under `clauses`."""
    sentences: list[str] = []
    clauses: dict[LicenceTopic, list[str]] = {}
    for condition in entry.conditions:
        for topic, sentence in condition.items() if isinstance(condition, dict) else ():
            clauses.setdefault(topic, []).append(sentence)
        sentences += [condition] if isinstance(condition, str) else condition.values()
    terms = {name: getattr(entry, name) for name in LicenceTerms.__struct_fields__}
    by_topic = {topic: tuple(found) for topic, found in clauses.items()}
    return Licence(id=licence_id, conditions=tuple(sentences), clauses=by_topic, **terms)


def score(benchmark: str, row: ScoreRow) -> Score:
    """A line of scores/<benchmark>.csv without its model."""
    return Score(
        benchmark=benchmark,
        variant=row.variant,
        score=row.score,
        unit=row.unit,
        source=row.source,
        source_date=row.source_date,
        reported_by=row.reported_by,
        notes=row.notes,
    )


def open_candidate(
    model_id: str,
    family_id: str,
    family: FamilyFile,
    entry: ModelEntry,
    spec: ModelSpec | None,
    row: ConfigRow | None,
    scores: Iterable[Score],
    trained: Training,
    traits: Traits | None = None,
) -> Candidate:
    """A model with open weights: what its entry leaves out is its family's, the counts are the architecture's."""
    published = None if row is None else row.params_published or row.params_meta
    return Candidate(
        id=model_id,
        name=entry.hub_id.rpartition("/")[2],
        hub_id=entry.hub_id,
        family=family_id,
        publisher=entry.publisher or family.publisher,
        spec_kind=spec.kind if spec else "unknown",
        tuning=entry.tuning,
        licence=entry.licence or family.licence,
        tasks=family.tasks if entry.tasks is None else entry.tasks,
        not_for=entry.not_for,
        languages=family.languages if entry.languages is None else entry.languages,
        inputs=family.inputs if entry.inputs is None else entry.inputs,
        outputs=family.outputs if entry.outputs is None else entry.outputs,
        context_tokens=entry.context_tokens or (spec.max_context_tokens if spec else None),
        native_context_tokens=entry.native_context_tokens,
        extended_context_tokens=entry.extended_context_tokens,
        params=spec.params if spec else published,
        active_params=spec.active_params if spec else None,
        released=entry.released,
        scores=tuple(scores),
        base_model=entry.base_model,
        training_tokens=trained.tokens,
        further_training_tokens=trained.further_tokens,
        domain=entry.domain or family.domain,
        gated=family.gated if entry.gated is None else entry.gated,
        needs_fine_tune=entry.needs_fine_tune,
        thinks=entry.thinks,
        answers_directly=entry.answers_directly,
        embedding_dim=entry.embedding_dim or (spec.embedding_dim if spec else None),
        quantised=entry.quantised,
        traits=traits,
        notes=(*family.notes, *entry.notes),
        sources=_model_sources(family, entry, spec, trained),
    )


def _model_sources(family: FamilyFile, entry: ModelEntry, spec: ModelSpec | None, trained: Training) -> dict[str, str]:
    """A family's sources with the model's own over them; a context that the configuration states is the configuration's."""
    found = {**family.sources, **entry.sources}
    if trained.source is not None:
        found["training_tokens"] = trained.source
    found.setdefault("tuning", _tuning_source(entry.hub_id, entry.tuning, found.get("tasks")))
    config = entry.config or (f"that of {entry.config_of}" if entry.config_of else None)
    if (
        entry.context_tokens is None
        and spec is not None
        and config is not None
        and "context_tokens" not in entry.sources
    ):
        found["context_tokens"] = f"configs/{config}" if entry.config else f"config.json, {config}"
    return found


def _tuning_source(hub_id: str, tuning: Tuning, tasks: str | None) -> str:
    """Where it is said what a model was tuned to: the name that its publisher gave it, else nowhere in one word.

    >>> _tuning_source("Qwen/Qwen3-8B-Base", "base", None)
    'name of the repository, https://huggingface.co/Qwen/Qwen3-8B-Base'
    >>> _tuning_source("google-bert/bert-base-cased", "base", "BERT paper")
    "the catalog's own class, after the source of its tasks: BERT paper"
    """
    if TUNING_NAMED[tuning].search(hub_id.rpartition("/")[2].lower()):
        return f"name of the repository, https://huggingface.co/{hub_id}"
    own = "the catalog's own class"
    return own if tasks is None else f"{own}, after the source of its tasks: {tasks}"


def api_candidate(
    model_id: str, provider_id: str, api: ApiFile, entry: ApiModelEntry, scores: Iterable[Score]
) -> Candidate:
    """A closed model: no Hub id, no architecture, but terms and a price."""
    return Candidate(
        id=model_id,
        name=entry.name,
        hub_id=None,
        family=provider_id,
        publisher=api.provider,
        spec_kind="api",
        tuning=entry.tuning or ("reasoning" if entry.thinks else "instruct"),
        licence=api.licence,
        tasks=api.tasks if entry.tasks is None else entry.tasks,
        not_for=(),
        languages=api.languages,
        inputs=entry.inputs,
        outputs=entry.outputs,
        context_tokens=entry.context_tokens,
        params=None,
        active_params=None,
        released=entry.released,
        scores=tuple(scores),
        api=ApiTerms(
            provider=api.provider,
            status=entry.status,
            successor=entry.successor,
            input_usd_per_1m=entry.input_usd_per_1m,
            cached_input_usd_per_1m=entry.cached_input_usd_per_1m,
            output_usd_per_1m=entry.output_usd_per_1m,
            price_date=entry.price_date,
            max_output_tokens=entry.max_output_tokens,
            data_policy=api.data_policy,
        ),
        thinks=entry.thinks,
        may_think=entry.may_think,
        embedding_dim=entry.embedding_dim,
        notes=entry.notes,
        sources={**api.sources, **entry.sources},
    )
