"""`fmkit compare`: everything known of several models, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit import __version__
from fmkit.api.asked import text, tokens
from fmkit.api.capabilities import capabilities
from fmkit.api.machines import resolve_machine
from fmkit.api.summaries import licence_facts
from fmkit.api.vram import vram
from fmkit.catalog.load import load_catalog
from fmkit.errors import UsageError
from fmkit.results.compare import ComparedModel, CompareResult, SharedScore
from fmkit.selection.cost import cheapest_hourly
from fmkit.selection.evidence import effective_context, evidence
from fmkit.selection.licences import bound_licence
from fmkit.selection.logits import REPORTER_ORDER
from fmkit.selection.score_items import set_up

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fmkit.catalog.load import Catalog
    from fmkit.results.capability import TaskCapability
    from fmkit.results.recommend import LicenceFacts
    from fmkit.results.vram import Estimate, VramResult
    from fmkit.selection.facts import Candidate, CloudPrice, Score

MOST_MODELS = 12
DEFAULT_CONTEXT_TOKENS = 4096
LEAST_MODELS = 2
SECONDS_PER_HOUR = 3600


def compare(
    *models: str,
    context: str | int | None = None,
    gpu: str | None = None,
    memory: str | None = None,
    engine: str = "transformers",
    precision: str | Sequence[str] | None = None,
    offline: bool = False,
    progress: Callable[[str], None] | None = None,
) -> CompareResult:
    """Everything known of each of `models`: facts, memory and speed, licence, scores that others have too, capability, price.

    Parameters are the long options of `fmkit compare`; models are named as for `fmkit vram`. Memory is for `context` tokens, or
    as many as a model can hold. Raises what `fmkit.vram` raises, and UsageError for fewer than two models.
    """
    catalog = load_catalog()
    names = _names(models, catalog)
    asked = DEFAULT_CONTEXT_TOKENS if context is None else tokens(context, "--context")
    machine = resolve_machine(gpu, memory, catalog)
    facts = {name: catalog.model(found).candidate for name in names if (found := catalog.resolve(name)) is not None}
    sized = {
        name: vram(
            name, context=_length(facts.get(name), asked), gpu=gpu, memory=memory, engine=engine, precision=precision,
            offline=offline, progress=progress,
        )
        for name in names
    }  # fmt: skip
    able = capabilities([candidate.id for candidate in facts.values()], catalog)
    licences = _licences(facts, catalog)
    return CompareResult(
        fmkit=__version__,
        catalog=catalog.date,
        age=catalog.age,
        machine=next((found.machine for found in sized.values() if found.machine is not None), None),
        engine=engine,
        models=tuple(
            _compared(
                name,
                sized[name],
                facts.get(name),
                able,
                licences,
                cheapest_hourly(catalog.cloud_prices, machine),
            )
            for name in names
        ),
        shared_scores=shared_scores([facts[name].scores if name in facts else () for name in names]),
        next=tuple(f"fmkit catalog show {candidate.id} --sources" for candidate in facts.values()),
    )


def _names(models: Sequence[str], catalog: Catalog) -> tuple[str, ...]:
    """The models as typed, each once; the same model under two names is refused."""
    names = tuple(text(name, "MODEL") for name in models)
    if len(names) < LEAST_MODELS:
        raise UsageError(
            f"name at least {LEAST_MODELS} models to compare", where="MODEL", next_command="fmkit catalog list"
        )
    if len(names) > MOST_MODELS:
        raise UsageError(f"can't compare {len(names)} models: at most {MOST_MODELS} stand side by side", where="MODEL")
    seen: dict[str, str] = {}
    for name in names:
        key = catalog.resolve(name) or name
        if key in seen:
            raise UsageError(f"{seen[key]!r} and {name!r} are the same model: name each once", where="MODEL")
        seen[key] = name
    return names


def _length(candidate: Candidate | None, asked: int) -> int:
    """As many tokens as asked for, or as the model can hold."""
    limit = None if candidate is None else candidate.context_tokens
    return asked if limit is None else min(asked, limit)


def _licences(facts: Mapping[str, Candidate], catalog: Catalog) -> dict[str, LicenceFacts]:
    by_id = {candidate.id: candidate for candidate in catalog.candidates()}
    bound = {name: bound_licence(candidate, by_id, catalog.licences) for name, candidate in facts.items()}
    return {name: licence_facts(found) for name, found in bound.items()}


def _compared(
    name: str,
    sized: VramResult,
    facts: Candidate | None,
    able: Mapping[str, tuple[TaskCapability, ...]],
    licences: Mapping[str, LicenceFacts],
    rent: CloudPrice | None,
) -> ComparedModel:
    scores = () if facts is None else facts.scores
    price, basis = _price(sized.estimates, facts, rent)
    return ComparedModel(
        id=name if facts is None else facts.id,
        hub_id=sized.model.hub_id,
        architecture=sized.model.architecture,
        kind=sized.model.kind,
        params=sized.model.params,
        active_params=sized.model.active_params,
        active_params_without_embedding=sized.model.active_params_without_embedding,
        max_context_tokens=sized.model.max_context_tokens,
        effective_context=effective_context(scores),
        context_tokens=sized.estimates[0].context_tokens if sized.estimates else None,
        facts=facts,
        config_source=sized.model.config_source,
        licence=licences.get(name),
        estimates=sized.estimates,
        capabilities=() if facts is None else able[facts.id],
        evidence=evidence(scores),
        usd_per_1m_output_tokens=price,
        price_basis=basis,
        warnings=sized.warnings,
    )


def _price(
    estimates: Sequence[Estimate], facts: Candidate | None, rent: CloudPrice | None
) -> tuple[float | None, str | None]:
    """USD per million tokens written: the API's, else that of the devices used, rented, in the widest precision that fits there."""
    if facts is not None and facts.api is not None:
        terms = facts.api
        dated = f", price of {terms.price_date}" if terms.price_date else ""
        return terms.output_usd_per_1m, f"{terms.provider} API{dated}" if terms.output_usd_per_1m is not None else None
    for one in estimates:
        rate = one.speed.decode_tokens_per_s if one.speed is not None and one.fits else None
        if rent is not None and rate is not None:
            usd_per_s = rent.usd_per_device_hour * one.devices_used / SECONDS_PER_HOUR
            basis = (
                f"{one.precision}, one sequence, never idle, {one.devices_used} x {rent.device} at {rent.usd_per_device_hour:g} USD per "
                f"hour ({rent.provider}, {rent.source_date})"
            )
            return float(f"{usd_per_s / rate.median * 1e6:.3g}"), basis
    return None, None


def shared_scores(scores: Sequence[Sequence[Score]]) -> tuple[SharedScore, ...]:
    """The scores that two or more models have in one set-up, thinking or not, independent ones first; sorted by benchmark."""
    tables = [_by_set_up(rows) for rows in scores]
    keys = sorted({key for table in tables for key in table})
    return tuple(
        SharedScore(benchmark=key[0], variant=key[1], unit=key[2], scores=tuple(table.get(key) for table in tables))
        for key in keys
        if sum(key in table for table in tables) > 1
    )


def _by_set_up(scores: Sequence[Score]) -> dict[tuple[str, str, str], Score]:
    found: dict[tuple[str, str, str], Score] = {}
    for score in sorted(scores, key=lambda row: (REPORTER_ORDER.index(row.reported_by), row.variant, -row.score)):
        found.setdefault((score.benchmark, set_up(score.variant), score.unit), score)
    return found
