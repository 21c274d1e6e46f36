"""What `fmkit vram` says: the verdict, memory by context and precision, where it goes, the inverse, what to type next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fmkit.report.attention import print_attention
from fmkit.report.common import NARROW_COLUMNS, csv_text, markdown_table, print_table, say
from fmkit.report.text import print_text, text_line
from fmkit.report.throughput import print_throughput
from fmkit.report.vram_devices import print_cuts, print_degrees, print_devices
from fmkit.units import format_bytes, format_count, format_rate, format_seconds, format_tokens

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from fmkit.model.quality import QualityLoss
    from fmkit.results.vram import (
        ApiFacts,
        Estimate,
        MachineSummary,
        ModelSummary,
        PrecisionLoss,
        StoredFiles,
        VramResult,
    )
    from fmkit.sizing.estimate import Fit, MemoryLine, TrainingFacts
    from fmkit.speed.estimate import Range, SpeedEstimate

CSV_COLUMNS = (
    "engine", "engine_version", "precision", "layout", "context_tokens", "encoder_tokens", "sequences", "valid",
    "weights_bytes", "cache_bytes", "steady_bytes", "peak_bytes", "low_bytes", "high_bytes", "per_device_bytes",
    "budget_bytes", "fits",
)  # fmt: skip
MOST_COLUMNS = 5
"""More precisions than this are rows of the table of peaks, and of the speeds only as many are shown."""

LENGTH_NAMES = {"encoder": "input", "clip": "text"}


def print_vram(result: VramResult, console: Console, *, detail: bool = False) -> None:
    """Draw the whole answer on a rich console of any width."""
    say(console, result.verdict, style="bold")
    console.print()
    _print_facts(result, console)
    if result.estimates:
        console.print()
        _print_grid(result, console)
        for estimate in result.estimates if detail else result.estimates[:1]:
            console.print()
            _print_parts(estimate, result.model, console, detail=detail)
        _print_speeds(result, console, detail=detail)
    if detail and result.text is not None:
        console.print()
        print_text(result.text, console)
    if detail and result.attention:
        console.print()
        print_attention(result.attention, console)
    if result.quality_loss:
        console.print()
        _print_quality(result.quality_loss, console, detail=detail)
    if result.throughput is not None:
        console.print()
        print_throughput(result.throughput, console)
    if result.degrees:
        console.print()
        print_degrees(result.degrees, console, detail=detail)
    if result.fit is not None:
        console.print()
        _print_fit(result.fit, console)
    _print_notes(result, console, detail=detail)


def _print_facts(result: VramResult, console: Console) -> None:
    """What was asked about: the model, its files, the machine."""
    say(console, _model_line(result.model))
    if result.api is not None:
        _print_api(result.api, console)
    if result.stored is not None:
        say(console, _stored_line(result.stored))
    if result.text is not None and (line := text_line(result.text)) is not None:
        say(console, line)
    if result.machine is not None:
        say(console, _machine_line(result.machine, result.estimates))


def _model_line(model: ModelSummary) -> str:
    facts = [model.hub_id or model.ref, model.kind]
    if model.params is not None:
        active = model.active_params
        mixture = f" ({format_count(active)} active)" if active is not None and active != model.params else ""
        facts.append(f"{format_count(model.params)} parameters{mixture}")
    if model.max_context_tokens is not None:
        facts.append(f"at most {format_tokens(model.max_context_tokens)} tokens")
    facts.append(f"licence {model.licence or 'unknown'}")
    return ", ".join(facts)


def _stored_line(stored: StoredFiles) -> str:
    """The weight files in one line: how many, how long, of which types."""
    if len(stored.variants) > 1:
        parts = sum(variant.files for variant in stored.variants)
        return f"{len(stored.variants)} quantisations in {parts} files"
    if not stored.file_bytes:
        return "no weights were looked at"
    files = "" if not stored.files else f"{stored.files} {stored.format} file{'s' if stored.files > 1 else ''}, "
    dtypes = ", ".join(f"{dtype} {format_bytes(count)}" for dtype, count in stored.bytes_by_dtype.items())
    left_out = f"; {format_bytes(stored.not_loaded_bytes)} not loaded" if stored.not_loaded_bytes else ""
    return f"files: {files}{format_bytes(stored.file_bytes)}{f' ({dtypes})' if dtypes else ''}{left_out}"


def _machine_line(machine: MachineSummary, estimates: Sequence[Estimate]) -> str:
    """What a device offers, and what the engine keeps to where that is less."""
    each = " each" if machine.count > 1 else ""
    free = "" if machine.free_bytes is None else f", {format_bytes(machine.free_bytes)} free now"
    if machine.usable_bytes == machine.memory_bytes:
        line = f"{machine.name}, all of it usable{free}"
    else:
        line = f"{machine.name}: {format_bytes(machine.usable_bytes)} usable of {format_bytes(machine.memory_bytes)}{each}{free}"
    first = estimates[0] if estimates else None
    if first is None or first.device_budget_bytes is None or not first.budget_reason:
        return line
    return f"{line}; {first.engine} uses {format_bytes(first.device_budget_bytes)} ({first.budget_reason})"


def _print_grid(result: VramResult, console: Console) -> None:
    """Peak memory: one row per context and number of sequences, one column per precision; turned round for many precisions."""
    header, rows = _grid(result)
    first = result.estimates[0]
    say(console, f"Peak memory with {first.engine} {first.engine_version}", style="bold")
    print_table(console, header, [[label, *(_cell(found) for found in found_row)] for label, found_row in rows])


def _grid(result: VramResult) -> tuple[list[str], list[tuple[str, list[Estimate | None]]]]:
    precisions = list(dict.fromkeys(found.precision for found in result.estimates))
    cases = list(dict.fromkeys((found.context_tokens, found.sequences) for found in result.estimates))
    several = len({sequences for _, sequences in cases}) > 1 or cases[0][1] > 1
    by_case = {(found.context_tokens, found.sequences, found.precision): found for found in result.estimates}
    rows: list[tuple[str, list[Estimate | None]]] = []
    for context_tokens, sequences in cases:
        label = f"{sequences} x {format_tokens(context_tokens)}" if several else format_tokens(context_tokens)
        rows.append((label, [by_case.get((context_tokens, sequences, precision)) for precision in precisions]))
    if len(precisions) > MOST_COLUMNS:
        turned = zip(precisions, zip(*(found for _, found in rows), strict=True), strict=True)
        return ["", *(label for label, _ in rows)], [(name.upper(), list(found)) for name, found in turned]
    return [LENGTH_NAMES.get(result.model.kind, "context"), *(name.upper() for name in precisions)], rows


def _cell(estimate: Estimate | None) -> Text:
    from rich.text import Text

    if estimate is None:
        return Text("-")
    cell = Text(format_bytes(estimate.peak_bytes))
    if not estimate.valid:
        return cell.append(" past limit", style="yellow")
    if estimate.fits is None:
        return cell
    return cell.append(" fits" if estimate.fits else " no", style="green" if estimate.fits else "red")


def _print_parts(estimate: Estimate, model: ModelSummary, console: Console, *, detail: bool) -> None:
    """Where the memory of one estimate goes, line by line; with `detail` formula and source of each."""
    say(console, f"Where it goes: {_case(estimate, model)}", style="bold")
    narrow = console.width < NARROW_COLUMNS
    if detail:
        for line in estimate.lines:
            _print_line_in_detail(line, console)
    else:
        header = ["part", "bytes", "when"] if narrow else ["part", "bytes", "when", "basis"]
        rows = [
            [line.part, format_bytes(line.bytes), line.phase] if narrow
            else [line.part, format_bytes(line.bytes), line.phase, line.basis]
            for line in estimate.lines
        ]  # fmt: skip
        print_table(console, header, rows, right=[1], indent=2)
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


def _print_line_in_detail(line: MemoryLine, console: Console) -> None:
    say(console, f"{line.part}: {format_bytes(line.bytes)} ({line.phase}, {line.basis})", indent=2)
    for text in (line.reason, line.formula, f"source: {line.source}"):
        if text:
            say(console, text, indent=4)


def _totals(estimate: Estimate) -> str:
    each = (
        ""
        if estimate.per_device_bytes == estimate.peak_bytes
        else f", {format_bytes(estimate.per_device_bytes)} per device"
    )
    return (
        f"steady {format_bytes(estimate.steady_bytes)}, peak {format_bytes(estimate.peak_bytes)} "
        f"(between {format_bytes(estimate.low_bytes)} and {format_bytes(estimate.high_bytes)}){each}"
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


def _print_speeds(result: VramResult, console: Console, *, detail: bool) -> None:
    """The speed expected at the first context, once per precision; nothing where none is predicted."""
    first = result.estimates[0]
    shown = [
        (found.precision, found.speed)
        for found in result.estimates
        if found.speed is not None
        and (found.context_tokens, found.sequences) == (first.context_tokens, first.sequences)
        and found.fits is not False
        and found.valid
    ]
    if not shown:
        return
    console.print()
    say(console, f"Speed at {format_tokens(first.context_tokens)} tokens, an estimate", style="bold")
    for precision, speed in shown[:MOST_COLUMNS]:
        say(console, f"{precision.upper()}: {_speed(speed, detail=detail)}", indent=2)
    say(console, f"{shown[0][1].basis}: {shown[0][1].reason}", indent=2)


def _speed(speed: SpeedEstimate, *, detail: bool) -> str:
    """Decoding and the wait before it; of a model that writes nothing, one pass and what it takes in per second; energy in detail."""
    decodes = speed.decode_tokens_per_s is not None
    facts = []
    if speed.decode_tokens_per_s is not None:
        facts.append(f"{_range(speed.decode_tokens_per_s)} tokens/s")
    if speed.ttft_s is not None:
        wait = f"{format_seconds(speed.ttft_s.low)} to {format_seconds(speed.ttft_s.high)}"
        facts.append(f"first token after {wait}" if decodes else f"one pass takes {wait}")
    if speed.real_time_factor is not None:
        factor = speed.real_time_factor
        facts.append(f"{factor.low:.2g} to {factor.high:.2g} s of work per second of sound")
    if speed.texts_per_s is not None:
        facts.append(f"{_range(speed.texts_per_s)} texts/s")
    if not decodes and speed.images_per_s is not None:
        facts.append(f"takes in {_range(speed.images_per_s)} images/s")
    elif not decodes and speed.prefill_tokens_per_s is not None:
        facts.append(f"reads {_range(speed.prefill_tokens_per_s)} tokens/s")
    if detail and speed.energy_j_per_1k_tokens is not None:
        facts.append(f"{_range(speed.energy_j_per_1k_tokens)} J per 1k tokens")
    if detail and speed.load is not None:
        load = speed.load.seconds
        facts.append(
            f"first load {format_seconds(load.low)} to {format_seconds(load.high)} ({speed.load.basis}: {speed.load.reason})"
        )
    return ", ".join(facts) or "not predicted"


def _range(rate: Range) -> str:
    return f"{format_rate(rate.low)} to {format_rate(rate.high)}"


def _print_quality(losses: Sequence[PrecisionLoss], console: Console, *, detail: bool) -> None:
    """What each narrower precision was measured to cost, a line for those that cost alike; with `detail` the sources."""
    say(console, "Measured loss of quality against 16 bit", style="bold")
    alike: dict[str, list[PrecisionLoss]] = {}
    for loss in losses:
        alike.setdefault(loss.summary, []).append(loss)
    for summary, found in alike.items():
        say(console, f"{', '.join(loss.precision.upper() for loss in found)}: {summary}", indent=2)
        if detail:
            for source in dict.fromkeys(_source_of(measured) for loss in found for measured in loss.measurements):
                say(console, f"source: {source}", indent=4)


def _source_of(measured: QualityLoss) -> str:
    return ", ".join(
        filter(None, (measured.source, measured.source_date, f"reported by {measured.reported_by}", measured.notes))
    )


def _print_fit(fit: Fit, console: Console) -> None:
    """The inverse: what fits at most, by precision."""
    say(console, f"What fits into {format_bytes(fit.budget_bytes)}", style="bold")
    rows = [
        [
            found.precision.upper(),
            "yes" if found.fits else f"{format_bytes(found.short_bytes)} short" if found.short_bytes else "no",
            "-" if found.max_context_tokens is None else format_tokens(found.max_context_tokens),
            "-" if found.max_sequences is None else f"{found.max_sequences:,}",
            found.smallest_device or "none",
        ]
        for found in fit.precisions
    ]
    narrow = console.width < NARROW_COLUMNS
    header = ["", "fits", "longest", "sequences", "smallest device"]
    if narrow:
        header, rows = header[:-1], [row[:-1] for row in rows]
    print_table(console, header, rows, indent=2)
    if fit.best_precision is not None:
        stops = "the model's own limit" if fit.limited_by == "model" else "memory"
        say(console, f"best: {fit.best_precision.upper()}; a longer context is stopped by {stops}", indent=2)
    elif fit.cut is not None:
        say(console, f"nothing fits; the largest part is {fit.cut}", indent=2)
    print_cuts(fit, console)
    if narrow and fit.smallest_device is not None:
        say(console, f"smallest device that would do: {fit.smallest_device}", indent=2)


def _print_api(api: ApiFacts, console: Console) -> None:
    def price(usd: float | None) -> str:
        return "unknown" if usd is None else f"{usd:g} USD"

    rows = [
        ["provider", api.provider],
        ["input, per 1M tokens", price(api.input_usd_per_1m)],
        ["cached input, per 1M tokens", price(api.cached_input_usd_per_1m)],
        ["output, per 1M tokens", price(api.output_usd_per_1m)],
        ["context", "unknown" if api.context_tokens is None else f"{api.context_tokens:,} tokens"],
        ["longest answer", "unknown" if api.max_output_tokens is None else f"{api.max_output_tokens:,} tokens"],
        ["status", api.status],
        ["price of", api.price_date or "unknown date"],
        ["source of the price", api.source],
    ]
    print_table(console, ["", ""], rows, indent=2)


def _refusals(result: VramResult) -> list[str]:
    """Why an engine loads some precisions not at all, where neither the verdict nor the first estimate says so."""
    precisions: dict[str, list[str]] = {}
    for found in result.estimates:
        if found.refused is not None and found.refused not in result.verdict:
            names = precisions.setdefault(found.refused, [])
            if found.precision.upper() not in names:
                names.append(found.precision.upper())
    return [f"{', '.join(names)}: {reason}" for reason, names in precisions.items()]


def _print_notes(result: VramResult, console: Console, *, detail: bool) -> None:
    console.print()
    for text in (*_refusals(result), *result.warnings):
        say(console, f"note: {text}")
    if detail and result.model.config_source:
        say(console, f"config.json: {result.model.config_confidence}, from {result.model.config_source}")
    for command in result.next:
        say(console, f"next: {command}")
    say(console, f"fmkit {result.fmkit}, catalog of {result.catalog}", style="dim")


def csv_table(result: VramResult) -> str:
    """One line per estimate, figures in bytes."""
    return csv_text(CSV_COLUMNS, _csv_rows(result.estimates))


def _csv_rows(estimates: Sequence[Estimate]) -> Iterator[list[object]]:
    for estimate in estimates:
        yield [getattr(estimate, column) for column in CSV_COLUMNS]


def markdown_text(result: VramResult) -> str:
    """The verdict and the table of peaks in Markdown."""
    header, rows = _grid(result) if result.estimates else (["", ""], [])
    body = [[label, *(_cell(found).plain for found in found_row)] for label, found_row in rows]
    table = f"\n{markdown_table(header, body)}" if body else ""
    return f"{result.verdict}\n{table}"
