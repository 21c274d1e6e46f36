"""Where the memory of one estimate goes, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import NARROW_COLUMNS, print_table, say
from fmkit.report.vram_devices import print_devices
from fmkit.units import format_bytes, format_count, format_tokens

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.results.vram import Estimate, ModelSummary
    from fmkit.sizing.estimate import MemoryLine, TrainingFacts


def print_parts(estimate: Estimate, model: ModelSummary, console: Console, *, detail: bool) -> None:
    """Draw the lines and their totals; with `detail` formula and source of each line."""
    say(console, f"Where it goes: {_case(estimate, model)}", style="bold")
    if detail:
        for line in estimate.lines:
            _print_line_in_detail(line, console)
    else:
        _print_lines(estimate, console)
    say(console, _totals(estimate), indent=2)
    if estimate.training is not None:
        say(console, _training(estimate.training), indent=2)
    print_devices(estimate, console)
    for warning in estimate.warnings:
        say(console, f"note: {warning}", indent=2)


def _case(estimate: Estimate, model: ModelSummary) -> str:
    sequences = f"{estimate.sequences} sequences of " if estimate.sequences > 1 else ""
    encoder = (
        f", encoder {format_tokens(estimate.encoder_tokens)}" if model.kind in {"encoder-decoder", "speech"} else ""
    )
    layout = estimate.precision.upper()
    layout += f" ({estimate.layout})" if estimate.layout != estimate.precision else ""
    return f"{layout}, {sequences}{format_tokens(estimate.context_tokens)} tokens{encoder}"


def _print_lines(estimate: Estimate, console: Console) -> None:
    header = ["part", "bytes", "when", "basis"]
    rows = [[line.part, format_bytes(line.bytes), line.phase, line.basis] for line in estimate.lines]
    if console.width < NARROW_COLUMNS:
        header, rows = header[:-1], [row[:-1] for row in rows]
    print_table(console, header, rows, right=[1], indent=2)


def _print_line_in_detail(line: MemoryLine, console: Console) -> None:
    say(console, f"{line.part}: {format_bytes(line.bytes)} ({line.phase}, {line.basis})", indent=2)
    for text in (line.reason, line.formula, f"source: {line.source}"):
        if text:
            say(console, text, indent=4)


def _totals(estimate: Estimate) -> str:
    is_split = estimate.per_device_bytes != estimate.peak_bytes
    each = f", {format_bytes(estimate.per_device_bytes)} per device" if is_split else ""
    dropped = estimate.droppable_bytes
    stays = (
        f"; {format_bytes(estimate.needed_bytes)} must stay, {format_bytes(dropped)} are pages of the file that may be dropped"
        if dropped
        else ""
    )
    return (
        f"steady {format_bytes(estimate.steady_bytes)}, peak {format_bytes(estimate.peak_bytes)} "
        f"(between {format_bytes(estimate.low_bytes)} and {format_bytes(estimate.high_bytes)}){each}{stays}"
    )


def _training(training: TrainingFacts) -> str:
    """How the step was sized, and its three moments."""
    rank = (
        f", rank {training.lora_rank} on {', '.join(training.lora_targets)}" if training.lora_rank is not None else ""
    )
    checkpointing = ", checkpointing" if training.checkpointing else ""
    return (
        f"{training.recipe}{rank}; {training.optimizer}, batch {training.batch}{checkpointing}; "
        f"{format_count(training.trainable_params)} parameters trained; beyond weights and states forward needs "
        f"{format_bytes(training.forward_bytes)}, backward {format_bytes(training.backward_bytes)}, "
        f"the optimiser {format_bytes(training.step_bytes)}"
    )
