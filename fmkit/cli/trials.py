"""`fmkit trials`: the trials kept on this computer."""

from __future__ import annotations

from typing import Annotated

import typer

from fmkit.api.trials import as_lines, as_measurements, export_trials, import_trials, list_trials, show_trial
from fmkit.cli.options import CsvOption, JsonOption, OfflineOption, QuietOption, one_output
from fmkit.cli.output import emit, json_text, note, write
from fmkit.report.trial import print_trial
from fmkit.report.trials import print_import, print_trials
from fmkit.results.trials import TrialExport

app = typer.Typer(
    help="List, show, export or import the trials kept here.", no_args_is_help=True, rich_markup_mode=None
)

ModelOption = Annotated[str | None, typer.Option("--model", metavar="MODEL", help="Only trials of this model.")]


@app.command("list")
def list_command(
    *,
    model: ModelOption = None,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the kept trials, oldest first."""
    del offline, quiet
    emit(list_trials(model), print_trials, as_json=as_json)


@app.command("show")
def show_command(
    trial: Annotated[str, typer.Argument(metavar="ID", help="A trial's id, or its beginning.", show_default=False)],
    *,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show one trial as `fmkit try` printed it."""
    del offline, quiet
    emit(show_trial(trial), print_trial, as_json=as_json)


@app.command("export")
def export_command(
    trial: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Trials to export. Default: all.", show_default=False)
    ] = None,
    *,
    model: ModelOption = None,
    csv: CsvOption = False,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Print trials on stdout, one JSON object a line, for `import` elsewhere; --csv: as measurements for a catalog."""
    del offline
    one_output(as_json=as_json, csv=csv, markdown=False)
    found = export_trials(trial or (), model=model)
    if as_json:
        write(json_text(TrialExport(trials=tuple(found))))
    else:
        write(as_measurements(found) if csv else as_lines(found))
    if not quiet:
        note(f"{len(found)} trials exported")


@app.command("import")
def import_command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file that `export` wrote.", show_default=False)],
    *,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Take in the trials of another machine; those known already stay as they are."""
    del offline, quiet
    emit(import_trials(file), print_import, as_json=as_json)
