"""What `fmkit catalog changes` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import of_catalog, print_records, say
from fmkit.units import number_of

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.results.changes import ChangesResult

SHOWN_MODELS = 4
"""Models of a benchmark that are named; --json has all."""


def print_changes(result: ChangesResult, console: Console) -> None:
    """Draw what is dated since the day asked about, kind by kind."""
    say(console, f"Released since {result.since}: {number_of(len(result.released), 'model')}", style="bold")
    if result.released:
        rows = [[row.released, row.id, row.kind, row.family] for row in result.released]
        print_records(console, ["released", "id", "kind", "family"], rows, order=[0, 1, 2, 3], right=[])
    say(console, f"API prices looked up since: {len(result.priced)}", style="bold")
    if result.priced:
        prices = [
            [row.price_date, row.id, _usd(row.input_usd_per_1m), _usd(row.output_usd_per_1m)] for row in result.priced
        ]
        print_records(console, ["date", "id", "in", "out"], prices, order=[0, 1, 2, 3], right=[2, 3])
    say(console, f"Scores published since: {sum(row.scores for row in result.scored)}", style="bold")
    if result.scored:
        scores = [[row.latest, row.benchmark, str(row.scores), _models(row.models)] for row in result.scored]
        print_records(console, ["latest", "benchmark", "scores", "models"], scores, order=[1, 2, 0, 3], right=[2])
    say(console, f"Licence texts dated since: {', '.join(result.licences) or 'none'}")
    say(console, f"Cloud prices dated since: {result.cloud_prices}")
    say(
        console,
        f"Dates are those of the facts, not of entries. Without a date: {result.undated.models} models, "
        f"{result.undated.licences} licences.",
        style="dim",
    )
    say(console, of_catalog(result.catalog, result.age), style="dim")


def _usd(price: float | None) -> str:
    return "-" if price is None else f"{price:g}"


def _models(models: tuple[str, ...]) -> str:
    more = len(models) - SHOWN_MODELS
    return ", ".join(models[:SHOWN_MODELS]) + (f" and {more} more" if more > 0 else "")
