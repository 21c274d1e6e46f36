"""`fmkit catalog`: the models fmkit knows, what it knows of one, and whether the files are in order."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from fmkit.api.catalog import check_catalog, list_local, list_models, show_model
from fmkit.api.changes import changes
from fmkit.api.licence import licence
from fmkit.api.live import refresh
from fmkit.api.sizes import DEFAULT_CONTEXT, sizes
from fmkit.api.variants import variants
from fmkit.cli.options import (
    CatalogModelArgument,
    CsvOption,
    EngineOption,
    GpuOption,
    JsonOption,
    MemoryOption,
    MonthlyUsersOption,
    OfflineOption,
    QuietOption,
    RegionOption,
    SourcesOption,
    one_output,
)
from fmkit.cli.output import emit, note
from fmkit.errors import UsageError
from fmkit.report.catalog import (
    local_csv,
    models_csv,
    print_check,
    print_local,
    print_models,
    print_refresh,
    print_variants,
    variants_csv,
)
from fmkit.report.changes import print_changes
from fmkit.report.licence import print_licence
from fmkit.report.model_facts import print_model
from fmkit.report.sizes import print_sizes, sizes_csv

app = typer.Typer(help="List, show or check the models fmkit knows.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list", short_help="List the models of the catalog.")
def list_command(
    search: Annotated[
        str | None,
        typer.Argument(metavar="[TEXT]", help="A part of an id, a Hub id or a publisher.", show_default=False),
    ] = None,
    *,
    task: Annotated[str | None, typer.Option("--task", metavar="TASK", help="Only models for this task.")] = None,
    family: Annotated[str | None, typer.Option("--family", metavar="FAMILY", help="Only this family.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help="decoder, encoder, api, ...")] = None,
    tuning: Annotated[
        str | None, typer.Option("--tuning", metavar="TUNING", help="base, instruct, reasoning, embedding, task-tuned.")
    ] = None,
    licence_: Annotated[
        str | None, typer.Option("--licence", "--license", metavar="CLASS|ID", help="Only models bound by it.")
    ] = None,
    language: Annotated[
        str | None, typer.Option("--language", metavar="LANG", help="BCP 47 code or English name.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="DATE", help="Only models released since: 2025, 2025-07, 2025-07-23."),
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="What the Hub's cache on this disk holds instead.")] = False,
    as_json: JsonOption = False,
    csv: CsvOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the models of the catalog: kind, parameters, context, licence."""
    del offline, quiet
    one_output(as_json=as_json, csv=csv, markdown=False)
    if local:
        if any(value is not None for value in (search, task, family, kind, tuning, licence_, language, since)):
            raise UsageError("--local lists what is on this disk: leave out the filters", where="--local")
        emit(list_local(), print_local, as_json=as_json, as_text=local_csv if csv else None)
        return
    result = list_models(
        search=search, task=task, family=family, kind=kind, tuning=tuning, licence=licence_, language=language, since=since
    )  # fmt: skip
    emit(result, print_models, as_json=as_json, as_text=models_csv if csv else None)


@app.command("show", short_help="Everything known of one model.")
def show_command(
    model: CatalogModelArgument,
    *,
    sources: SourcesOption = False,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show everything known of one model: facts, licence, capability, scores."""
    del offline, quiet
    emit(show_model(model), partial(print_model, sources=sources), as_json=as_json)


@app.command("changes", short_help="What happened since a date.")
def changes_command(
    *,
    since: Annotated[
        str, typer.Option("--since", metavar="DATE", help="2025, 2025-07 or 2025-07-23.", show_default=False)
    ],
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """What happened since a date: models released, prices looked up, scores and licences published."""
    del offline, quiet
    emit(changes(since=since), print_changes, as_json=as_json)


@app.command("sizes", short_help="Classes of size, and what holds each.")
def sizes_command(
    *,
    context: Annotated[
        str, typer.Option("--context", "-c", metavar="TOKENS", help="Tokens held, one sequence.")
    ] = DEFAULT_CONTEXT,
    engine: EngineOption = "transformers",
    gpu: GpuOption = None,
    memory: MemoryOption = None,
    as_json: JsonOption = False,
    csv: CsvOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Classes of size: what each is for, the memory of an example at 16, 8 and 4 bit, and what holds it."""
    del offline, quiet
    one_output(as_json=as_json, csv=csv, markdown=False)
    result = sizes(context=context, engine=engine, gpu=gpu, memory=memory)
    emit(result, print_sizes, as_json=as_json, as_text=sizes_csv if csv else None)


@app.command("licence", short_help="Whether a model may be used so.")
def licence_command(
    name: Annotated[
        str, typer.Argument(metavar="MODEL|LICENCE", help="A model or a licence of the catalog.", show_default=False)
    ],
    *,
    use: Annotated[str, typer.Option("--use", metavar="USE", help="commercial or research.")] = "commercial",
    region: RegionOption = None,
    monthly_users: MonthlyUsersOption = None,
    train_on_outputs: Annotated[
        bool, typer.Option("--train-on-outputs", help="Ask whether its outputs may train other models.")
    ] = False,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say whether a model may be used so: each licence that binds it, its clauses, and their source. No legal advice."""
    del offline, quiet
    result = licence(name, use=use, region=region, monthly_users=monthly_users, train_on_outputs=train_on_outputs)
    emit(result, print_licence, as_json=as_json)


@app.command("variants", short_help="Quantised variants on the Hub.")
def variants_command(
    model: CatalogModelArgument,
    *,
    gpu: GpuOption = None,
    memory: MemoryOption = None,
    as_json: JsonOption = False,
    csv: CsvOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Ask the Hub for quantised variants of a model: files, sizes, what fits, how to fetch one."""
    one_output(as_json=as_json, csv=csv, markdown=False)
    result = variants(model, gpu=gpu, memory=memory, offline=offline, progress=None if quiet else note)
    emit(result, print_variants, as_json=as_json, as_text=variants_csv if csv else None)


@app.command("refresh", short_help="Ask the Hub about the catalog's models.")
def refresh_command(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Default: all with open weights.")
    ] = None,
    *,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Ask the Hub about the catalog's models: licence, gate, downloads, last change; kept for `recommend --live`."""
    if offline:
        raise UsageError("refresh asks the Hub: leave out --offline", where="--offline")
    note("asking the Hub ...", quiet=quiet)
    result = refresh(models or (), progress=None if quiet else note)
    emit(result, print_refresh, as_json=as_json)
    refused = [row.exit_code for row in result.models if row.exit_code is not None]
    if models and refused:
        raise typer.Exit(refused[0])


@app.command("check", short_help="Check the catalog's files.")
def check_command(*, as_json: JsonOption = False, offline: OfflineOption = False, quiet: QuietOption = False) -> None:
    """Check the catalog's files: every fault with its file and place (exit code 6)."""
    del offline, quiet
    emit(check_catalog(), print_check, as_json=as_json)
