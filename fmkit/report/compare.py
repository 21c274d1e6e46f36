"""Models side by side: one row per fact, one column per model; one model under the other where there is no room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fmkit.report.common import csv_text, markdown_table, of_catalog, print_next, print_table, say
from fmkit.report.compare_rows import UNKNOWN, Row, rows

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.results.compare import ComparedModel, CompareResult

LABEL_COLUMNS = 24
LEAST_CELL_COLUMNS = 18


def print_comparison(result: CompareResult, console: Console, *, sources: bool = False) -> None:
    """Draw the comparison at any width; with `sources` where each fact was read."""
    say(console, _headline(result), style="bold")
    found = rows(result)
    for section in dict.fromkeys(row.section for row in found):
        console.print()
        say(console, section, style="bold")
        _print_section([row for row in found if row.section == section], result, console)
    if sources:
        console.print()
        say(console, "Sources", style="bold")
        for place, model in enumerate(result.models):
            say(console, model.id, indent=2)
            for label, source in _sources(found, place):
                say(console, f"{label}: {source}", indent=4)
    for note in dict.fromkeys(f"note: {model.id}: {text}" for model in result.models for text in _notes(model)):
        say(console, note)
    console.print()
    say(console, of_catalog(result.catalog, result.age), style="dim")
    if result.next and not sources:
        print_next(result.next[:1], console)


def _notes(model: ComparedModel) -> Iterator[str]:
    """What is to be said of a model, and why precisions of it have no speed."""
    yield from model.warnings
    yield from (found.why_no_speed for found in model.estimates if found.why_no_speed is not None)


def _print_section(section: Sequence[Row], result: CompareResult, console: Console) -> None:
    names = [model.id for model in result.models]
    if console.width >= LABEL_COLUMNS + LEAST_CELL_COLUMNS * len(names):
        print_table(console, ["", *names], [[row.label, *row.cells] for row in section])
        return
    for place, name in enumerate(names):
        say(console, name, indent=2)
        print_table(console, ["", ""], [[row.label, row.cells[place]] for row in section], indent=4)


def _headline(result: CompareResult) -> str:
    where = "" if result.machine is None else f"; memory and speed with {result.engine} on {result.machine.name}"
    return f"{len(result.models)} models{where}"


def _sources(found: Sequence[Row], place: int) -> Iterator[tuple[str, str]]:
    """Each known fact of the model at that place that has a source: its label, and the source."""
    for row in found:
        if row.cells[place] != UNKNOWN and row.sources[place]:
            yield row.label, row.sources[place]


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
    text = f"{_headline(result)}; {of_catalog(result.catalog, result.age)}\n\n{markdown_table(['', *names], [[row.label, *row.cells] for row in found])}"
    if not sources:
        return text
    lines = [
        f"- {model.id}, {label}: {source}\n"
        for place, model in enumerate(result.models)
        for label, source in _sources(found, place)
    ]
    return f"{text}\n{''.join(lines)}"
