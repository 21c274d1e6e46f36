"""`fmkit hardware`: what is in this machine, what it reaches, and which devices the catalog knows."""

from __future__ import annotations

from typing import Annotated

import typer

from fmkit.api.hardware import list_devices, show_device, show_hardware
from fmkit.api.measure import measure_hardware
from fmkit.cli.options import CsvOption, JsonOption, OfflineOption, QuietOption, one_output
from fmkit.cli.output import emit, note
from fmkit.report.hardware import devices_csv, print_device, print_devices, print_hardware
from fmkit.report.measure import print_measured

app = typer.Typer(
    help="Show or measure this machine, or list the devices of the catalog.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("show", short_help="This machine, or a device, and what a model can use.")
def show_command(
    device: Annotated[
        str | None,
        typer.Argument(metavar="[DEVICE]", help="A device of the catalog. Default: this machine.", show_default=False),
    ] = None,
    *,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show this machine: accelerator, memory, cores, and what of it a model can use; or a device of the catalog with its sources."""
    del offline, quiet  # detection uses no network and says nothing beside the answer
    if device is not None:
        emit(show_device(device), print_device, as_json=as_json)
        return
    emit(show_hardware(), print_hardware, as_json=as_json)


@app.command("list", short_help="The devices that --gpu takes.")
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
    emit(list_devices(vendor), print_devices, as_json=as_json, as_text=devices_csv if csv else None)


@app.command("measure", short_help="Measure what this machine reaches.")
def measure_command(
    *,
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="NAME", help="cpu, cuda, mps or xpu. Default: all that torch can use."),
    ] = None,
    light: Annotated[
        bool, typer.Option("--light", help="Memory of the processor and disk only, without torch.")
    ] = False,
    thorough: Annotated[
        bool,
        typer.Option(
            "--thorough",
            help="A minute: each call three times as long, and llama.cpp's kernels, float16, GPT-2's and Mamba's calls too.",
        ),
    ] = False,
    keep: Annotated[
        bool | None,
        typer.Option(
            "--keep/--no-keep",
            help="Keep the rates for later estimates. Default: unless the machine is busy.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure what this machine reaches, in about 15 seconds per device; later estimates for it use the result."""
    del offline
    result = measure_hardware(
        light=light,
        thorough=thorough,
        device=device,
        keep=keep,
        say=lambda text: note(f"measuring: {text} ...", quiet=quiet),
    )
    for warning in result.rates.warnings:
        note(f"warning: {warning}", quiet=quiet)
    emit(result, print_measured, as_json=as_json)
