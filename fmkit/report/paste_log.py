"""What `fmkit vram --paste-log` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import csv_text, markdown_table, print_records, say
from fmkit.units import format_bytes, format_percent

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.results.paste_log import LogPart, PasteLogResult

HEADER = ["part", "predicted", "in the log", "error", "bounds", "what"]
CSV_COLUMNS = (
    "part", "predicted_bytes", "low_bytes", "high_bytes", "actual_bytes", "error", "within", "reason", "line",
)  # fmt: skip
JUDGED = {True: "within", False: "outside", None: "-"}


def print_log(result: PasteLogResult, console: Console) -> None:
    """Draw the parts, then what the log lacks and what in it was not understood."""
    say(console, result.verdict, style="bold")
    console.print()
    version = f" {result.engine_version}" if result.engine_version else ""
    scope = "of all devices" if result.engine == "llama.cpp" else "of one device"
    say(console, f"{result.engine}{version}, {result.layout}; figures {scope}")
    print_records(console, HEADER, [_cells(part) for part in result.parts], order=[0, 1, 2, 3, 4, 5], right=[1, 2, 3])
    console.print()
    say(console, f"settings: {', '.join(f'{name} {value}' for name, value in result.settings.items())}")
    for heading, lines in (
        ("assumed", result.assumed),
        ("missing in the log", result.missing),
        ("warning", result.warnings),
    ):
        for line in lines:
            say(console, f"{heading}: {line}")
    if result.not_understood:
        say(console, "lines that speak of memory and were not understood:")
        for line in result.not_understood:
            say(console, line, indent=2)


def _cells(part: LogPart) -> list[str]:
    predicted = "-" if part.predicted_bytes is None else format_bytes(part.predicted_bytes)
    error = "" if part.error is None else format_percent(part.error, sign=True)
    return [part.part, predicted, format_bytes(part.actual_bytes), error, JUDGED[part.within], part.reason]


def csv_table(result: PasteLogResult) -> str:
    """One line per part."""
    return csv_text(CSV_COLUMNS, ([getattr(part, name) for name in CSV_COLUMNS] for part in result.parts))


def markdown_text(result: PasteLogResult) -> str:
    """The parts as a table."""
    return markdown_table(HEADER, (_cells(part) for part in result.parts))
