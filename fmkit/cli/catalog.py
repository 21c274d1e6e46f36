"""`fmkit catalog`: the models fmkit knows, what it knows of one, and whether the files are in order."""

from __future__ import annotations

from typing import Annotated

import typer

from fmkit.api.catalog import check_catalog, list_models, show_model
from fmkit.cli.options import CsvOption, JsonOption, OfflineOption, QuietOption, one_output
from fmkit.cli.output import emit, write
from fmkit.report.catalog import models_csv, print_check, print_model, print_models

app = typer.Typer(help="List, show or check the models fmkit knows.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_command(
    *,
    task: Annotated[str | None, typer.Option("--task", metavar="TASK", help="Only models for this task.")] = None,
    family: Annotated[str | None, typer.Option("--family", metavar="FAMILY", help="Only this family.")] = None,
    as_json: JsonOption = False,
    csv: CsvOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the models of the catalog: kind, parameters, context, licence."""
    del offline, quiet
    one_output(as_json=as_json, csv=csv, markdown=False)
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


@app.command("check")
def check_command(*, as_json: JsonOption = False, offline: OfflineOption = False, quiet: QuietOption = False) -> None:
    """Check the catalog's files: every fault with its file and place (exit code 6)."""
    del offline, quiet
    emit(check_catalog(), print_check, as_json=as_json)
