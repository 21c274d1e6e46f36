"""`fmkit accuracy`: how far predictions were from measurements."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from fmkit.api.accuracy.answer import accuracy
from fmkit.cli.options import CsvOption, JsonOption, MarkdownOption, OfflineOption, QuietOption, one_output
from fmkit.cli.output import emit, note
from fmkit.report.accuracy import csv_table, markdown_text, print_accuracy


def accuracy_command(
    *,
    measurements: Annotated[
        str | None,
        typer.Option(
            "--measurements",
            metavar="FILE.csv",
            help="Score the rows of this file instead: columns as in the catalog's measurements/memory.csv or latency.csv.",
        ),
    ] = None,
    detail: Annotated[bool, typer.Option("--detail", help="Also by release and device, and every reason.")] = False,
    as_json: JsonOption = False,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Hold predictions against published measurements and your own trials: error by engine, part and device."""
    del offline  # nothing here uses the network
    one_output(as_json=as_json, csv=csv, markdown=markdown)
    note("scoring the measurements ...", quiet=quiet)
    result = accuracy(measurements)
    emit(
        result,
        partial(print_accuracy, detail=detail),
        as_json=as_json,
        as_text=csv_table if csv else markdown_text if markdown else None,
    )
