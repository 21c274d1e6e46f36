"""`fmkit hardware`: what is in this machine, and which devices the catalog knows."""

from __future__ import annotations

from typing import Annotated

import typer

from fmkit.api.hardware import list_devices, show_hardware
from fmkit.cli.options import CsvOption, JsonOption, OfflineOption, QuietOption, one_output
from fmkit.cli.output import emit, write
from fmkit.report.hardware import devices_csv, print_devices, print_hardware

app = typer.Typer(help="Show this machine, or the devices of the catalog.", no_args_is_help=True, rich_markup_mode=None)


@app.command("show")
def show_command(*, as_json: JsonOption = False, offline: OfflineOption = False, quiet: QuietOption = False) -> None:
    """Show this machine: accelerator, memory, cores, and what of it a model can use."""
    del offline, quiet  # detection uses no network and says nothing beside the answer
    emit(show_hardware(), print_hardware, as_json=as_json)


@app.command("list")
def list_command(
    *,
    vendor: Annotated[
        str | None, typer.Option("--vendor", metavar="NAME", help="nvidia, amd, apple, intel ...")
    ] = None,
    as_json: JsonOption = False,
    csv: CsvOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the devices that --gpu takes."""
    del offline, quiet
    one_output(as_json=as_json, csv=csv, markdown=False)
    result = list_devices(vendor)
    if csv:
        write(devices_csv(result))
    else:
        emit(result, print_devices, as_json=as_json)
