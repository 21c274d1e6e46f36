"""`fmkit trials`: the trials kept on this computer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fmkit.api.trial_measurements import latency_csv, memory_csv
from fmkit.api.trials import as_lines, export_trials, import_trials, list_trials, show_trial
from fmkit.cli.options import CsvOption, JsonOption, OfflineOption, QuietOption, one_output
from fmkit.cli.output import emit, json_text, note, write
from fmkit.cli.plots import PlotOption, draw, place_of
from fmkit.errors import UsageError
from fmkit.report.trial import print_trial
from fmkit.report.trials import print_import, print_trials
from fmkit.results.trials import TrialExport

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fmkit.results.trial import TrialResult

app = typer.Typer(
    help="List, show, export or import the trials kept here.", no_args_is_help=True, rich_markup_mode=None
)

ModelOption = Annotated[str | None, typer.Option("--model", metavar="MODEL", help="Only trials of this model.")]


@app.command("list", short_help="List the kept trials, oldest first.")
def list_command(
    *,
    model: ModelOption = None,
    plot: PlotOption = None,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the kept trials, oldest first; --plot draws those of one model."""
    del offline
    place = place_of(plot)
    if place is not None and model is None:
        raise UsageError("a picture shows the trials of one model: name it with --model", where="--plot")
    emit(list_trials(model), print_trials, as_json=as_json)
    if place is not None:
        _draw(export_trials(model=model), place, quiet=quiet)


@app.command("show", short_help="Show one trial as it was printed.")
def show_command(
    trial: Annotated[str, typer.Argument(metavar="ID", help="A trial's id, or its beginning.", show_default=False)],
    *,
    plot: PlotOption = None,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show one trial as `fmkit try` printed it."""
    del offline
    place = place_of(plot)
    found = show_trial(trial)
    emit(found, print_trial, as_json=as_json)
    if place is not None:
        _draw([found], place, quiet=quiet)


def _draw(trials: Sequence[TrialResult], place: Path, *, quiet: bool) -> None:
    from fmkit.report.plots.trials import trials_figure  # noqa: PLC0415  most calls draw nothing

    draw(trials_figure(trials), place, quiet=quiet)


@app.command("export", short_help="Print trials, for `import` elsewhere.")
def export_command(
    trial: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Trials to export. Default: all.", show_default=False)
    ] = None,
    *,
    model: ModelOption = None,
    csv: CsvOption = False,
    latency: Annotated[bool, typer.Option("--latency", help="With --csv: speed instead of memory.")] = False,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Print trials on stdout, one JSON object a line, for `import` elsewhere; --csv: as measurements for a catalog."""
    del offline
    if latency and not csv:
        raise UsageError("--latency says which measurements: it goes with --csv", where="--latency")
    one_output(as_json=as_json, csv=csv, markdown=False)
    found = export_trials(trial or (), model=model)
    if as_json:
        write(json_text(TrialExport(trials=tuple(found))))
    else:
        table = latency_csv if latency else memory_csv
        write(table(found) if csv else as_lines(found))
    if not quiet:
        note(f"{len(found)} trials exported")


@app.command("import", short_help="Take in the trials of another machine.")
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
