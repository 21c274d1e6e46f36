"""`fmkit compare MODEL MODEL...`: what is known of each, side by side."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from fmkit.api.compare import compare
from fmkit.cli.options import (
    CsvOption,
    EngineOption,
    GpuOption,
    JsonOption,
    MarkdownOption,
    MemoryOption,
    OfflineOption,
    PrecisionOption,
    QuietOption,
    SourcesOption,
    one_output,
    split_values,
)
from fmkit.cli.output import emit, note
from fmkit.report.compare import csv_table, markdown_text, print_comparison


def compare_command(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Two or more: catalog ids, Hub ids, paths.", show_default=False),
    ],
    *,
    gpu: GpuOption = None,
    memory: MemoryOption = None,
    context: Annotated[
        str | None,
        typer.Option(
            "--context", "-c", metavar="TOKENS", help="Tokens held. Default: 4k, or as many as a model holds."
        ),
    ] = None,
    precision: PrecisionOption = None,
    engine: EngineOption = "transformers",
    sources: SourcesOption = False,
    as_json: JsonOption = False,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compare models side by side: architecture, memory, speed, licence, scores, capability, price."""
    one_output(as_json=as_json, csv=csv, markdown=markdown)
    result = compare(
        *models, gpu=gpu, memory=memory, context=context, precision=split_values(precision, where="--precision"), engine=engine,
        offline=offline, progress=None if quiet else note,
    )  # fmt: skip
    emit(
        result,
        partial(print_comparison, sources=sources),
        as_json=as_json,
        as_text=partial(csv_table if csv else markdown_text, sources=sources) if csv or markdown else None,
    )
