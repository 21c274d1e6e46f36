"""What `fmkit catalog` says."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from fmkit.report.common import csv_text, of_catalog, print_next, print_records, reach, say
from fmkit.units import format_bytes, format_count, format_tokens, number_of

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.results.catalog import (
        CatalogCheckResult,
        LocalModelsResult,
        ModelsResult,
        RefreshResult,
        VariantsResult,
    )
    from fmkit.selection.facts import OwnCatalog

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


def print_models(result: ModelsResult, console: Console) -> None:
    """Draw the list of models."""
    header = ["id", "kind", "tuning", "params", "context", "released", "licence"]
    rows = []
    for model in result.models:
        params = "-" if model.params is None else format_count(model.params)
        context = "-" if model.context_tokens is None else format_tokens(model.context_tokens)
        rows.append([model.id, model.kind, model.tuning, params, context, model.released or "-", model.licence])
    left_out = print_records(console, header, rows, order=[0, 3, 4, 6, 1, 2, 5], right=[3, 4]) if rows else []
    more = f"; no room for {', '.join(left_out)}" if left_out else ""
    say(console, f"{number_of(len(result.models), 'model')}, catalog of {result.catalog}{more}{reach(result.age)}")
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
    say(console, f"{number_of(len(result.models), 'model')}, {total}, in {result.folder}")


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
    if best is None:
        print_next([f"fmkit vram {result.model} --fit"], console)
    else:
        run = [f"fmkit try {shlex.quote(f'{best.hub_id}:{best.label}')}"] if best.method == "GGUF" else []
        print_next([best.fetch, *run], console)


def print_refresh(result: RefreshResult, console: Console) -> None:
    """Draw where the Hub and the catalog differ."""
    for row in result.models:
        for text in row.differences:
            say(console, f"{row.id}: {text}")
    answered = sum(row.facts is not None for row in result.models)
    differing = sum(bool(row.differences) for row in result.models)
    say(
        console,
        f"asked about {number_of(len(result.models), 'model')}, {answered} answers kept; something to say of {differing} (catalog of {result.catalog})",
    )
    refused = [row.id for row in result.models if row.facts is None]
    if refused:
        print_next(
            [f"check HF_ENDPOINT and HF_TOKEN; fmkit catalog show {refused[0]} says what the catalog has"], console
        )


def _fit_word(fits: bool | None) -> str:
    return "unknown" if fits is None else "yes" if fits else "no"


def variants_csv(result: VariantsResult) -> str:
    """One line per variant."""
    return csv_text(VARIANT_COLUMNS, ([getattr(row, column) for column in VARIANT_COLUMNS] for row in result.variants))


def models_csv(result: ModelsResult) -> str:
    """One line per model."""
    return csv_text(CSV_COLUMNS, ([getattr(model, column) for column in CSV_COLUMNS] for model in result.models))


def print_check(result: CatalogCheckResult, console: Console) -> None:
    """Draw the answer for a catalog without faults."""
    say(
        console,
        f"no faults: {result.models} models, {result.devices} devices, {result.licences} licences, {result.tasks} tasks "
        f"({of_catalog(result.catalog, result.age)})",
    )
    _own(result.own, console)


def _own(own: OwnCatalog | None, console: Console) -> None:
    """Say what the user's own catalog brought, and what of the shipped one gave way to it."""
    if own is None or own.faults:
        return
    say(console, f"with your own catalog at {own.folder}: {number_of(len(own.models), 'model')}")
    if own.replaced:
        say(console, f"in the place of shipped entries: {', '.join(own.replaced)}", indent=2)
