"""`fmkit catalog`: the models fmkit knows, what it knows of one, and whether the files are in order."""

from __future__ import annotations

from typing import Annotated

import typer

from fmkit.api.catalog import check_catalog, list_local, list_models, show_model
from fmkit.api.changes import changes
from fmkit.api.licence import licence
from fmkit.api.live import refresh
from fmkit.api.sizes import DEFAULT_CONTEXT, sizes
from fmkit.api.variants import variants
from fmkit.cli.options import (
    CsvOption,
    EngineOption,
    GpuOption,
    JsonOption,
    MemoryOption,
    OfflineOption,
    QuietOption,
    SourcesOption,
    one_output,
)
from fmkit.cli.output import emit, note, write
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


@app.command("list")
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
        on_disk = list_local()
        if csv:
            write(local_csv(on_disk))
        else:
            emit(on_disk, print_local, as_json=as_json)
        return
    result = list_models(
        search=search,
        task=task,
        family=family,
        kind=kind,
        tuning=tuning,
        licence=licence_,
        language=language,
        since=since,
    )
    if csv:
        write(models_csv(result))
    else:
        emit(result, print_models, as_json=as_json)


@app.command("show")
def show_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Catalog id, alias or Hub id.", show_default=False)],
    *,
    sources: SourcesOption = False,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show everything known of one model: facts, licence, capability, scores."""
    del offline, quiet
    emit(show_model(model), lambda found, console: print_model(found, console, sources=sources), as_json=as_json)


@app.command("changes")
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


@app.command("sizes")
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
    if csv:
        write(sizes_csv(result))
    else:
        emit(result, print_sizes, as_json=as_json)


@app.command("licence")
def licence_command(
    name: Annotated[
        str, typer.Argument(metavar="MODEL|LICENCE", help="A model or a licence of the catalog.", show_default=False)
    ],
    *,
    use: Annotated[str, typer.Option("--use", metavar="USE", help="commercial or research.")] = "commercial",
    region: Annotated[
        str | None, typer.Option("--region", metavar="CODE", help="Where it is used: ISO country code, EU or UK.")
    ] = None,
    monthly_users: Annotated[
        str | None, typer.Option("--monthly-users", metavar="N", help="Users per month, such as 250000 or 1M.")
    ] = None,
    train_on_outputs: Annotated[
        bool, typer.Option("--train-on-outputs", help="Ask whether its outputs may train other models.")
    ] = False,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say whether a model may be used so: each licence that binds it, its clauses, and their source. No legal advice."""
    del offline, quiet
    result = licence(
        name, use=use, region=region, monthly_users=monthly_users, train_on_outputs=train_on_outputs
    )  # fmt: skip
    emit(result, print_licence, as_json=as_json)


@app.command("variants")
def variants_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Catalog id, alias or Hub id.", show_default=False)],
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
    if csv:
        write(variants_csv(result))
    else:
        emit(result, print_variants, as_json=as_json)


@app.command("refresh")
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
    emit(refresh(models or (), progress=None if quiet else note), print_refresh, as_json=as_json)


@app.command("check")
def check_command(*, as_json: JsonOption = False, offline: OfflineOption = False, quiet: QuietOption = False) -> None:
    """Check the catalog's files: every fault with its file and place (exit code 6)."""
    del offline, quiet
    emit(check_catalog(), print_check, as_json=as_json)
