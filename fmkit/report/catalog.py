"""What `fmkit catalog` says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fmkit.report.common import csv_text, print_records, print_table, say
from fmkit.report.licence import finding_text
from fmkit.selection.facts import CHINCHILLA_TOKENS_PER_PARAM, Traits
from fmkit.units import format_bytes, format_count, format_tokens

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.results.catalog import (
        CatalogCheckResult,
        LocalModelsResult,
        ModelResult,
        ModelsResult,
        RefreshResult,
        VariantsResult,
    )
    from fmkit.selection.facts import Candidate, OwnCatalog

CSV_COLUMNS = ("id", "hub_id", "family", "kind", "tuning", "params", "context_tokens", "licence", "released")
LOCAL_COLUMNS = ("hub_id", "id", "commit", "state", "bytes", "format", "detail")
VARIANT_COLUMNS = (
    "hub_id",
    "official",
    "method",
    "label",
    "files",
    "bytes",
    "need_bytes",
    "fits",
    "downloads",
    "gated",
    "commit",
    "fetch",
)
SHOWN_APART = frozenset({"scores", "sources", "notes", "id", "traits"})


def print_models(result: ModelsResult, console: Console) -> None:
    """Draw the list of models."""
    header = ["id", "kind", "tuning", "params", "context", "licence", "released"]
    rows = []
    for model in result.models:
        params = "-" if model.params is None else format_count(model.params)
        context = "-" if model.context_tokens is None else format_tokens(model.context_tokens)
        rows.append([model.id, model.kind, model.tuning, params, context, model.licence, model.released or "-"])
    left_out = print_records(console, header, rows, order=[0, 3, 4, 5, 1, 2, 6], right=[3, 4]) if rows else []
    more = f"; no room for {', '.join(left_out)}" if left_out else ""
    say(console, f"{len(result.models)} models, catalog of {result.catalog}{more}")
    if result.undated:
        say(console, f"{result.undated} more have no known release date")
    _own(result.own, console)


def print_local(result: LocalModelsResult, console: Console) -> None:
    """Draw what lies on this disk."""
    header = ["model", "state", "size", "format"]
    rows = [[row.hub_id, row.state, format_bytes(row.bytes), row.format or "-"] for row in result.models]
    if rows:
        print_records(console, header, rows, order=[0, 1, 2, 3], right=[2])
    for row in result.models:
        if row.state in ("partial", "damaged"):
            say(console, f"note: {row.hub_id}: {row.detail}")
    total = format_bytes(sum(row.bytes for row in result.models))
    say(console, f"{len(result.models)} models, {total}, in {result.folder}")


def local_csv(result: LocalModelsResult) -> str:
    """One line per model on this disk."""
    return csv_text(LOCAL_COLUMNS, ([getattr(row, column) for column in LOCAL_COLUMNS] for row in result.models))


def print_variants(result: VariantsResult, console: Console) -> None:
    """Draw the quantisations that exist of a model, and how to fetch the largest that fits."""
    header = ["repository", "variant", "size", "fits", "downloads"]
    rows = [
        [row.hub_id, row.label, format_bytes(row.bytes), _fit_word(row.fits), "-" if row.downloads is None else f"{row.downloads:,}"]
        for row in result.variants
    ]  # fmt: skip
    if rows:
        print_records(console, header, rows, order=[0, 1, 2, 3, 4], right=[2, 4])
    place = (
        f"{result.machine}, {format_bytes(result.usable_bytes)} usable, {format_tokens(result.context_tokens)} tokens"
    )
    say(console, f"{len(rows)} variants of {result.model}; fits is for {place}")
    for note in result.notes:
        say(console, f"note: {note}")
    best = max((row for row in result.variants if row.fits), key=lambda row: row.bytes, default=None)
    if best is not None:
        say(console, f"next: {best.fetch}")


def print_refresh(result: RefreshResult, console: Console) -> None:
    """Draw where the Hub and the catalog differ."""
    for row in result.models:
        for text in row.differences:
            say(console, f"{row.id}: {text}")
    answered = sum(row.facts is not None for row in result.models)
    differing = sum(bool(row.differences) for row in result.models)
    say(
        console,
        f"asked about {len(result.models)} models, {answered} answers kept; something to say of {differing} (catalog of {result.catalog})",
    )


def _fit_word(fits: bool | None) -> str:
    return "unknown" if fits is None else "yes" if fits else "no"


def variants_csv(result: VariantsResult) -> str:
    """One line per variant."""
    return csv_text(VARIANT_COLUMNS, ([getattr(row, column) for column in VARIANT_COLUMNS] for row in result.variants))


def models_csv(result: ModelsResult) -> str:
    """One line per model."""
    return csv_text(CSV_COLUMNS, ([getattr(model, column) for column in CSV_COLUMNS] for model in result.models))


def print_model(result: ModelResult, console: Console) -> None:
    """Draw everything known of one model, with its sources."""
    say(console, result.facts.id, style="bold")
    print_table(console, ["", ""], list(_facts(result)), indent=2)
    say(console, "Licence", style="bold")
    for finding in result.permission:
        say(console, finding_text(finding), indent=2)
        for clause in finding.clauses:
            say(console, f'"{clause}"', indent=4)
    if result.facts.scores:
        say(console, "Scores", style="bold")
        for score in result.facts.scores:
            variant = f" ({score.variant})" if score.variant else ""
            say(console, f"{score.benchmark}{variant}: {score.score:g} {score.unit}, {score.reported_by}", indent=2)
            say(console, f"{score.source}, {score.source_date}", indent=4)
    say(console, "Sources", style="bold")
    for key, source in result.facts.sources.items():
        say(console, f"{key}: {source}", indent=2)
    for note in (*result.facts.notes, *result.notes):
        say(console, f"note: {note}")
    for command in result.next:
        say(console, f"next: {command}")


def _facts(result: ModelResult) -> Iterator[list[str]]:
    facts = result.facts
    for name in facts.__struct_fields__:
        value = getattr(facts, name)
        if name in SHOWN_APART or value is None or value in ((), "", False):
            continue
        if name == "api":
            yield from _terms(result)
        elif name == "training_tokens":
            yield ["training tokens", _training(facts)]
        else:
            yield [name.replace("_", " "), ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    if result.architecture:
        yield ["architecture", result.architecture]
    for name in Traits.__struct_fields__ if facts.traits is not None else ():
        value = getattr(facts.traits, name)
        if value:
            yield [name.replace("_", " "), str(value)]
    if result.config_file:
        yield ["config.json", f"{result.config_file}, {result.config_confidence}, from {result.config_source}"]
    if result.config_fault:
        yield ["not sized", result.config_fault]


def _training(facts: Candidate) -> str:
    """The published count, and beside it what would be cheapest to train."""
    ratio = facts.tokens_per_param
    beside = "" if ratio is None else f", {ratio:,.0f} per parameter (Chinchilla: {CHINCHILLA_TOKENS_PER_PARAM})"
    return f"{facts.training_tokens:,}{beside}"


def _terms(result: ModelResult) -> Iterator[list[str]]:
    terms = result.facts.api
    for name in terms.__struct_fields__ if terms is not None else ():
        value = getattr(terms, name)
        if value is not None:
            yield [name.replace("_", " "), str(value)]


def print_check(result: CatalogCheckResult, console: Console) -> None:
    """Draw the answer for a catalog without faults."""
    say(
        console,
        f"no faults: {result.models} models, {result.devices} devices, {result.licences} licences, {result.tasks} tasks "
        f"(catalog of {result.catalog})",
    )
    _own(result.own, console)


def _own(own: OwnCatalog | None, console: Console) -> None:
    """Say what the user's own catalog brought, and what of the shipped one gave way to it."""
    if own is None or own.faults:
        return
    say(console, f"with your own catalog at {own.folder}: {len(own.models)} models")
    if own.replaced:
        say(console, f"in the place of shipped entries: {', '.join(own.replaced)}", indent=2)
