"""The rows of a comparison: one fact of all models, with the source of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from fmkit.report.common import rate_range
from fmkit.report.scores import first_of_each, interval, short_score, vendor_mark
from fmkit.units import format_bytes, format_count, format_seconds, format_tokens

if TYPE_CHECKING:
    from fmkit.results.capability import TaskCapability
    from fmkit.results.compare import ComparedModel, CompareResult
    from fmkit.results.vram import Estimate
    from fmkit.selection.facts import Candidate, Score

UNKNOWN = "-"
FEW_SCORES = 3
FEW_LANGUAGES = 8
BASES = {"measured": "", "unknown": "", "not ranked": "not ranked"}
"""How the basis of a capability shows behind its figure; an estimate says from how many scores."""


class Row(NamedTuple):
    """One fact of all models, with the source of each."""

    section: str
    label: str
    cells: tuple[str, ...]
    sources: tuple[str, ...]

    def is_known(self) -> bool:
        """Whether any model has it."""
        return any(cell != UNKNOWN for cell in self.cells)


def rows(result: CompareResult) -> list[Row]:
    """All rows that at least one model has something in."""
    every = [*_facts(result), *_sizes(result), *_capabilities(result), *_evidence(result), *_scores(result)]
    return [row for row in every if row.is_known()]


class Fact(NamedTuple):
    """A row of plain facts: how a model's cell is read, and where the fact was read."""

    section: str
    label: str
    cell: Callable[[ComparedModel], object]
    source: Callable[[ComparedModel], str]


def _facts(result: CompareResult) -> Iterator[Row]:
    for fact in FACTS:
        cells = tuple(str(fact.cell(model) or UNKNOWN) for model in result.models)
        yield Row(fact.section, fact.label, cells, tuple(fact.source(model) for model in result.models))


def _of_entry(read: Callable[[Candidate], object]) -> Callable[[ComparedModel], object]:
    """What the catalog's entry says; nothing of a model that it lacks."""
    return lambda model: None if model.facts is None else read(model.facts)


def _trait(name: str) -> Callable[[ComparedModel], object]:
    return _of_entry(lambda facts: None if facts.traits is None else getattr(facts.traits, name))


def _key(name: str) -> Callable[[ComparedModel], str]:
    """The source that the model's entry names for a fact, else its configuration where it is read from that."""

    def source(model: ComparedModel) -> str:
        said = {} if model.facts is None else model.facts.sources
        config = "" if model.config_source is None else f"config.json: {model.config_source}"
        return said.get(name) or (config if name in {"config", "context_tokens"} else "")

    return source


def _no_source(_: ComparedModel) -> str:
    return ""


def _count(count: int | None) -> str | None:
    return None if count is None else format_count(count)


def _tokens(count: int | None) -> str | None:
    return None if count is None else format_tokens(count)


def _usd(price: float | None) -> str | None:
    return None if price is None else f"{price:g}"


def _tuning(facts: Candidate) -> str:
    return facts.tuning + (", thinks" if facts.thinks else "")


def _active_params(model: ComparedModel) -> str | None:
    return None if model.active_params == model.params else _count(model.active_params)


def _multiplied_params(model: ComparedModel) -> str | None:
    return None if model.active_params == model.params else _count(model.active_params_without_embedding)


def _languages(facts: Candidate) -> str:
    rest = len(facts.languages) - FEW_LANGUAGES
    return ", ".join(facts.languages[:FEW_LANGUAGES]) + (f" and {rest} more" if rest > 0 else "")


def _effective_context(model: ComparedModel) -> str | None:
    found = model.effective_context
    return None if found is None else format_tokens(round(found.score))


def _licence(model: ComparedModel) -> str | None:
    licence = model.licence
    return None if licence is None else licence.id + ("" if licence.verified else " (text not read)")


ABOUT, TERMS = "What it is", "Terms"
FACTS = (
    Fact(ABOUT, "Hub id", lambda model: model.hub_id, _no_source),
    Fact(ABOUT, "publisher", _of_entry(lambda facts: facts.publisher), _no_source),
    Fact(ABOUT, "kind", lambda model: model.kind, _key("config")),
    Fact(ABOUT, "architecture", lambda model: model.architecture, _key("config")),
    *(Fact(ABOUT, name, _trait(name), _key("config")) for name in ("attention", "norm", "activation", "positions")),
    Fact(ABOUT, "tuning", _of_entry(_tuning), _key("tuning")),
    Fact(ABOUT, "parameters", lambda model: _count(model.params), _key("config")),
    Fact(ABOUT, "active parameters, embedding included", _active_params, _key("config")),
    Fact(ABOUT, "active parameters, embedding left out", _multiplied_params, _key("config")),
    Fact(ABOUT, "training tokens", _of_entry(lambda facts: _count(facts.training_tokens)), _key("training_tokens")),
    Fact(
        ABOUT,
        "of them on top of the base's",
        _of_entry(lambda facts: _count(facts.further_training_tokens)),
        _key("further_training_tokens"),
    ),
    Fact(ABOUT, "released", _of_entry(lambda facts: facts.released), _key("released")),
    Fact(ABOUT, "base model", _of_entry(lambda facts: facts.base_model), _key("base_model")),
    Fact(ABOUT, "context, advertised", lambda model: _tokens(model.max_context_tokens), _key("context_tokens")),
    Fact(
        ABOUT,
        "context, effective (RULER)",
        _effective_context,
        lambda model: "" if model.effective_context is None else _score_source(model.effective_context),
    ),
    Fact(ABOUT, "reads", _of_entry(lambda facts: ", ".join(facts.inputs)), _key("inputs")),
    Fact(ABOUT, "languages", _of_entry(_languages), _key("languages")),
    Fact(ABOUT, "tasks", _of_entry(lambda facts: ", ".join(facts.tasks)), _key("tasks")),
    Fact(TERMS, "licence", _licence, lambda model: "" if model.licence is None else model.licence.source),
    Fact(TERMS, "licence class", lambda model: model.licence and model.licence.licence_class, _no_source),
    Fact(TERMS, "commercial use", lambda model: model.licence and model.licence.commercial, _no_source),
    Fact(
        TERMS,
        "USD per 1M input tokens",
        _of_entry(lambda facts: facts.api and _usd(facts.api.input_usd_per_1m)),
        _key("prices"),
    ),
    Fact(
        TERMS,
        "USD per 1M output tokens",
        lambda model: _usd(model.usd_per_1m_output_tokens),
        lambda model: model.price_basis or "",
    ),
)


def _sizes(result: CompareResult) -> Iterator[Row]:
    """Memory and speed, by precision."""
    by_model = [{one.precision: one for one in model.estimates} for model in result.models]
    section = "Memory and speed"
    contexts = tuple(_tokens(model.context_tokens) or UNKNOWN for model in result.models)
    yield Row(section, "at a context of", contexts, ("",) * len(contexts))
    for precision in dict.fromkeys(name for found in by_model for name in found):
        estimates = [found.get(precision) for found in by_model]
        for what, cell, source in SIZES:
            cells = tuple(UNKNOWN if one is None else cell(one) for one in estimates)
            yield Row(
                section, f"{precision} {what}", cells, tuple("" if one is None else source(one) for one in estimates)
            )


def _peak(one: Estimate) -> str:
    fits = "" if one.fits is None else ", fits" if one.fits else ", does not fit"
    return format_bytes(one.peak_bytes) + ("" if one.valid else ", past its limit") + fits


def _rate(one: Estimate) -> str:
    """Tokens written per second; tokens read, and said so, where a model only reads."""
    if one.speed is None:
        return UNKNOWN
    written, read = one.speed.decode_tokens_per_s, one.speed.prefill_tokens_per_s
    rate = written or read
    if rate is None:
        return UNKNOWN
    return rate_range(rate, "-") + ("" if written is not None else " read")


def _first_token(one: Estimate) -> str:
    """The wait for the first token after a prompt that fills the context; a model that writes none has no such wait."""
    wait = None if one.speed is None or one.speed.decode_tokens_per_s is None else one.speed.ttft_s
    return UNKNOWN if wait is None else f"{format_seconds(wait.low)} to {format_seconds(wait.high)}"


def _of_sound(one: Estimate) -> str:
    """The real-time factor."""
    factor = None if one.speed is None else one.speed.real_time_factor
    return UNKNOWN if factor is None else f"{factor.low:.2g}-{factor.high:.2g}"


def _layout(one: Estimate) -> str:
    return f"estimate of fmkit, {one.engine} {one.engine_version}, {one.layout}"


def _speed_basis(one: Estimate) -> str:
    return "" if one.speed is None else f"{one.speed.basis}: {one.speed.reason}"


SIZES: tuple[tuple[str, Callable[[Estimate], str], Callable[[Estimate], str]], ...] = (
    ("weights", lambda one: format_bytes(one.weights_bytes), _layout),
    ("cache", lambda one: format_bytes(one.cache_bytes), _layout),
    ("peak", _peak, _layout),
    ("tokens/s", _rate, _speed_basis),
    ("first token", _first_token, _speed_basis),
    ("s per s of sound", _of_sound, _speed_basis),
)


def _capabilities(result: CompareResult) -> Iterator[Row]:
    by_model = [{one.task: one for one in model.capabilities} for model in result.models]
    for task in dict.fromkeys(name for found in by_model for name in found):
        found = [one.get(task) for one in by_model]
        yield Row(
            "Capability, 0 to 1 among the catalog's models, with its 80 % interval",
            task,
            tuple(_capability(one) for one in found),
            tuple(_capability_source(one) for one in found),
        )


def _capability(one: TaskCapability | None) -> str:
    """A figure with its interval and, where it was not measured, its basis.

    >>> from fmkit.results.capability import TaskCapability
    >>> _capability(TaskCapability(task="chat", value=0.8, low=0.7, high=0.9, basis="estimated from 4 other scores"))
    '0.80 (0.70-0.90), estimated from 4 other scores'
    >>> _capability(TaskCapability(task="chat", basis="unknown")), _capability(None)
    ('unknown', '-')
    """
    if one is None:
        return UNKNOWN
    if one.value is None or one.low is None or one.high is None:
        return one.basis
    basis = BASES.get(one.basis, one.basis)
    return interval(one.value, one.low, one.high) + (f", {basis}" if basis else "")


def _capability_source(one: TaskCapability | None) -> str:
    if one is None:
        return ""
    if one.reason is not None:
        return one.reason
    measured = f"measured on {', '.join(one.measured)}" if one.measured else ""
    estimated = f"estimated on {', '.join(e.benchmark for e in one.estimated)}" if one.estimated else ""
    return "; ".join(filter(None, (measured, estimated)))


def _evidence(result: CompareResult) -> Iterator[Row]:
    for kind in dict.fromkeys(kind for model in result.models for kind in model.evidence):
        found = [first_of_each(model.evidence.get(kind, ()), FEW_SCORES) for model in result.models]
        cells = tuple(", ".join(map(short_score, scores)) or UNKNOWN for scores in found)
        yield Row("Evidence by ability", kind, cells, tuple("; ".join(map(_score_source, scores)) for scores in found))


def _scores(result: CompareResult) -> Iterator[Row]:
    for shared in result.shared_scores:
        label = ", ".join(filter(None, (shared.benchmark, shared.variant)))
        yield Row(
            "Scores that several have (! reported by a vendor)",
            f"{label} [{shared.unit}]",
            tuple(UNKNOWN if one is None else f"{one.score:g}{vendor_mark(one)}" for one in shared.scores),
            tuple("" if one is None else _score_source(one) for one in shared.scores),
        )


def _score_source(score: Score) -> str:
    return f"{score.benchmark} {score.score:g} {score.unit}: {score.source}, {score.source_date}, {score.reported_by}"
