"""Models side by side: one row per fact, one column per model; one model under the other where there is no room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from fmkit.report.common import csv_text, markdown_table, print_table, say
from fmkit.units import format_bytes, format_count, format_rate, format_tokens

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.results.capability import TaskCapability
    from fmkit.results.compare import ComparedModel, CompareResult
    from fmkit.results.vram import Estimate
    from fmkit.selection.facts import Score

LABEL_COLUMNS = 24
LEAST_CELL_COLUMNS = 18
UNKNOWN = "-"
FEW = 3
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


def print_comparison(result: CompareResult, console: Console, *, sources: bool = False) -> None:
    """Draw the comparison at any width."""
    say(console, _headline(result), style="bold")
    found = rows(result)
    names = [model.id for model in result.models]
    side_by_side = console.width >= LABEL_COLUMNS + LEAST_CELL_COLUMNS * len(names)
    for section in dict.fromkeys(row.section for row in found):
        console.print()
        say(console, section, style="bold")
        inside = [row for row in found if row.section == section]
        if side_by_side:
            print_table(console, ["", *names], [[row.label, *row.cells] for row in inside])
        else:
            for place, name in enumerate(names):
                say(console, name, indent=2)
                print_table(console, ["", ""], [[row.label, row.cells[place]] for row in inside], indent=4)
    if sources:
        _print_sources(result, found, console)
    for warning in dict.fromkeys(f"{model.id}: {text}" for model in result.models for text in model.warnings):
        say(console, f"note: {warning}")
    for command in result.next if not sources else ():
        console.print()
        say(console, f"next: {command}")
        break


def _headline(result: CompareResult) -> str:
    where = "" if result.machine is None else f"; memory and speed with {result.engine} on {result.machine.name}"
    return f"{len(result.models)} models, catalog of {result.catalog}{where}"


def _print_sources(result: CompareResult, found: list[Row], console: Console) -> None:
    console.print()
    say(console, "Sources", style="bold")
    for place, model in enumerate(result.models):
        say(console, model.id, indent=2)
        for row in found:
            if row.cells[place] != UNKNOWN and row.sources[place]:
                say(console, f"{row.label}: {row.sources[place]}", indent=4)


def csv_table(result: CompareResult, *, sources: bool = False) -> str:
    """One line per fact; with `sources` a column of its source behind each model's."""
    names = [model.id for model in result.models]
    header = ["section", "fact", *([f for name in names for f in (name, f"{name} source")] if sources else names)]
    lines = []
    for row in rows(result):
        cells: list[str | None] = [None if cell == UNKNOWN else cell for cell in row.cells]
        pairs = [x for pair in zip(cells, row.sources, strict=True) for x in pair]
        lines.append([row.section, row.label, *(pairs if sources else cells)])
    return csv_text(header, lines)


def markdown_text(result: CompareResult, *, sources: bool = False) -> str:
    """A table with the models as columns; with `sources` a list of them behind it."""
    names = [model.id for model in result.models]
    found = rows(result)
    text = f"{_headline(result)}\n\n{markdown_table(['', *names], [[row.label, *row.cells] for row in found])}"
    if sources:
        lines = [
            f"- {model.id}, {row.label}: {row.sources[place]}\n"
            for place, model in enumerate(result.models)
            for row in found
            if row.cells[place] != UNKNOWN and row.sources[place]
        ]
        text += "\n" + "".join(lines)
    return text


def rows(result: CompareResult) -> list[Row]:
    """All rows that at least one model has something in."""
    every = [*_facts(result), *_sizes(result), *_capabilities(result), *_evidence(result), *_scores(result)]
    return [row for row in every if row.is_known()]


def _facts(result: CompareResult) -> Iterator[Row]:
    models = result.models

    def row(section: str, label: str, cells: Sequence[object], key: str = "") -> Row:
        return Row(
            section,
            label,
            tuple(str(cell) if cell else UNKNOWN for cell in cells),
            tuple(_source(m, key) for m in models),
        )

    facts = [model.facts for model in models]
    yield row("What it is", "Hub id", [m.hub_id for m in models])
    yield row("What it is", "publisher", [f and f.publisher for f in facts])
    yield row("What it is", "kind", [m.kind for m in models], "config")
    yield row("What it is", "architecture", [m.architecture for m in models], "config")
    for name in ("attention", "norm", "activation", "positions"):
        traits = [f.traits if f else None for f in facts]
        yield row("What it is", name, [t and getattr(t, name) for t in traits], "config")
    yield row("What it is", "tuning", [f and f.tuning + (", thinks" if f.thinks else "") for f in facts], "tuning")
    yield row("What it is", "parameters", [_count(m.params) for m in models], "config")
    yield row(
        "What it is",
        "active parameters",
        [_count(m.active_params if m.active_params != m.params else None) for m in models],
        "config",
    )
    yield row(
        "What it is", "training tokens", [_count(f.training_tokens) if f else None for f in facts], "training_tokens"
    )
    yield row("What it is", "released", [f and f.released for f in facts], "released")
    yield row("What it is", "base model", [f and f.base_model for f in facts], "base_model")
    yield row("What it is", "context, advertised", [_tokens(m.max_context_tokens) for m in models], "context_tokens")
    effective = [m.effective_context for m in models]
    yield Row(
        "What it is",
        "context, effective (RULER)",
        tuple(UNKNOWN if one is None else format_tokens(round(one.score)) for one in effective),
        tuple("" if one is None else _score_source(one) for one in effective),
    )
    yield row("What it is", "reads", [f and ", ".join(f.inputs) for f in facts], "inputs")
    yield row("What it is", "languages", [f and _some(f.languages) for f in facts], "languages")
    yield row("What it is", "tasks", [f and ", ".join(f.tasks) for f in facts], "tasks")
    licences = [m.licence for m in models]
    yield Row(
        "Terms",
        "licence",
        tuple(UNKNOWN if x is None else x.id + ("" if x.verified else " (text not read)") for x in licences),
        tuple("" if x is None else x.source for x in licences),
    )
    yield row("Terms", "licence class", [x and x.licence_class for x in licences])
    yield row("Terms", "commercial use", [x and x.commercial for x in licences])
    apis = [f.api if f else None for f in facts]
    yield row("Terms", "USD per 1M input tokens", [_usd(a.input_usd_per_1m) if a else None for a in apis], "prices")
    prices = [m.usd_per_1m_output_tokens for m in models]
    yield Row(
        "Terms",
        "USD per 1M output tokens",
        tuple(_usd(price) or UNKNOWN for price in prices),
        tuple(m.price_basis or "" for m in models),
    )


def _sizes(result: CompareResult) -> Iterator[Row]:
    """Memory and speed, by precision."""
    by_model = [{one.precision: one for one in model.estimates} for model in result.models]
    section = "Memory and speed"
    contexts = tuple(UNKNOWN if m.context_tokens is None else format_tokens(m.context_tokens) for m in result.models)
    yield Row(section, "at a context of", contexts, ("",) * len(contexts))
    for precision in dict.fromkeys(name for found in by_model for name in found):
        estimates = [found.get(precision) for found in by_model]
        layouts = tuple(
            "" if one is None else f"estimate of fmkit, {one.engine} {one.engine_version}, {one.layout}"
            for one in estimates
        )
        yield Row(
            section,
            f"{precision} weights",
            tuple(_bytes(None if one is None else one.weights_bytes) for one in estimates),
            layouts,
        )
        yield Row(
            section,
            f"{precision} cache",
            tuple(_bytes(None if one is None else one.cache_bytes) for one in estimates),
            layouts,
        )
        yield Row(section, f"{precision} peak", tuple(_peak(one) for one in estimates), layouts)
        yield Row(
            section,
            f"{precision} tokens/s",
            tuple(_rate(one) for one in estimates),
            tuple(_speed_basis(one) for one in estimates),
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


def _evidence(result: CompareResult) -> Iterator[Row]:
    kinds = dict.fromkeys(kind for model in result.models for kind in model.evidence)
    for kind in kinds:
        found = [model.evidence.get(kind, ()) for model in result.models]
        cells = tuple(", ".join(_short_score(score) for score in _first(scores)) or UNKNOWN for scores in found)
        yield Row("Evidence by ability", kind, cells, tuple("; ".join(map(_score_source, _first(s))) for s in found))


def _scores(result: CompareResult) -> Iterator[Row]:
    for shared in result.shared_scores:
        label = ", ".join(filter(None, (shared.benchmark, shared.variant)))
        cells = tuple(UNKNOWN if s is None else f"{s.score:g}{_mark(s)}" for s in shared.scores)
        section = "Scores that several have (! reported by a vendor)"
        yield Row(
            section,
            f"{label} [{shared.unit}]",
            cells,
            tuple("" if s is None else _score_source(s) for s in shared.scores),
        )


def _mark(score: Score) -> str:
    return "" if score.reported_by == "independent" else "!"


def _short_score(score: Score) -> str:
    variant = f" ({score.variant})" if score.variant else ""
    return f"{score.benchmark}{variant} {score.score:g}{_mark(score)}"


def _first(scores: tuple[Score, ...]) -> tuple[Score, ...]:
    """The most telling few, one of each benchmark."""
    return tuple({score.benchmark: score for score in reversed(scores)}.values())[::-1][:FEW]


def _score_source(score: Score) -> str:
    return f"{score.benchmark} {score.score:g} {score.unit}: {score.source}, {score.source_date}, {score.reported_by}"


def _source(model: ComparedModel, key: str) -> str:
    """Where a fact of a model was read: what its entry says, else its configuration."""
    if not key:
        return ""
    said = {} if model.facts is None else model.facts.sources
    config = "" if model.config_source is None else f"config.json: {model.config_source}"
    return said.get(key) or (config if key in {"config", "context_tokens"} else "")


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
    return f"{one.value:.2f} ({one.low:.2f}-{one.high:.2f})" + (f", {basis}" if basis else "")


def _capability_source(one: TaskCapability | None) -> str:
    if one is None:
        return ""
    if one.reason is not None:
        return one.reason
    measured = f"measured on {', '.join(one.measured)}" if one.measured else ""
    estimated = f"estimated on {', '.join(e.benchmark for e in one.estimated)}" if one.estimated else ""
    return "; ".join(filter(None, (measured, estimated)))


def _peak(one: Estimate | None) -> str:
    if one is None:
        return UNKNOWN
    fits = "" if one.fits is None else ", fits" if one.fits else ", does not fit"
    return format_bytes(one.peak_bytes) + ("" if one.valid else ", past its limit") + fits


def _rate(one: Estimate | None) -> str:
    """Tokens written per second; tokens read, and said so, where a model only reads."""
    if one is None or one.speed is None:
        return UNKNOWN
    written, read = one.speed.decode_tokens_per_s, one.speed.prefill_tokens_per_s
    rate = written or read
    if rate is None:
        return UNKNOWN
    return f"{format_rate(rate.low)}-{format_rate(rate.high)}" + ("" if written is not None else " read")


def _speed_basis(one: Estimate | None) -> str:
    return "" if one is None or one.speed is None else f"{one.speed.basis}: {one.speed.reason}"


def _bytes(count: int | None) -> str:
    return UNKNOWN if count is None else format_bytes(count)


def _count(count: int | None) -> str | None:
    return None if count is None else format_count(count)


def _tokens(count: int | None) -> str | None:
    return None if count is None else format_tokens(count)


def _usd(price: float | None) -> str | None:
    return None if price is None else f"{price:g}"


def _some(names: tuple[str, ...]) -> str:
    many = 8
    rest = f" and {len(names) - many} more" if len(names) > many else ""
    return f"{', '.join(names[:many])}{rest}"
