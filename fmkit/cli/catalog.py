"""`fmkit catalog`: the models fmkit knows, what it knows of one, and whether the files are in order."""

from __future__ import annotations

from typing import Annotated

import typer

from fmkit.api.catalog import check_catalog, list_local, list_models, show_model
from fmkit.api.live import refresh
from fmkit.api.variants import variants
from fmkit.cli.options import (
    CsvOption,
    GpuOption,
    JsonOption,
    MemoryOption,
    OfflineOption,
    QuietOption,
    one_output,
)
from fmkit.cli.output import emit, note, write
from fmkit.errors import UsageError
from fmkit.report.catalog import (
    local_csv,
    models_csv,
    print_check,
    print_local,
    print_model,
    print_models,
    print_refresh,
    print_variants,
    variants_csv,
)

app = typer.Typer(help="List, show or check the models fmkit knows.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_command(
    *,
    task: Annotated[str | None, typer.Option("--task", metavar="TASK", help="Only models for this task.")] = None,
    family: Annotated[str | None, typer.Option("--family", metavar="FAMILY", help="Only this family.")] = None,
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
        if task is not None or family is not None:
            raise UsageError("--local lists what is on this disk: leave out --task and --family", where="--local")
        on_disk = list_local()
        if csv:
            write(local_csv(on_disk))
        else:
            emit(on_disk, print_local, as_json=as_json)
        return
    result = list_models(task=task, family=family)
    if csv:
        write(models_csv(result))
    else:
        emit(result, print_models, as_json=as_json)


@app.command("show")
def show_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Catalog id, alias or Hub id.", show_default=False)],
    *,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show everything known of one model, with its sources."""
    del offline, quiet
    emit(show_model(model), print_model, as_json=as_json)


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
    emit(refresh(models or ()), print_refresh, as_json=as_json)


@app.command("check")
def check_command(*, as_json: JsonOption = False, offline: OfflineOption = False, quiet: QuietOption = False) -> None:
    """Check the catalog's files: every fault with its file and place (exit code 6)."""
    del offline, quiet
    emit(check_catalog(), print_check, as_json=as_json)
