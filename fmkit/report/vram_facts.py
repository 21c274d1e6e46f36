"""What `fmkit vram` was asked about: the model, its files, the machine, the terms of an API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import print_table, say
from fmkit.report.text import text_line
from fmkit.units import format_bytes, format_count, format_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from fmkit.results.vram import ApiFacts, Estimate, MachineSummary, ModelSummary, StoredFiles, VramResult


def print_facts(result: VramResult, console: Console) -> None:
    """Draw a line for each."""
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
        facts.append(f"{format_count(model.params)} parameters{_mixture(model)}")
    if model.max_context_tokens is not None:
        facts.append(f"at most {format_tokens(model.max_context_tokens)} tokens")
    source = f" ({model.licence_source})" if model.licence_source is not None else ""
    facts.append(f"licence {model.licence or 'unknown'}{source}")
    if model.gated:
        facts.append("gated: its publisher grants access on request")
    return ", ".join(facts)


def _mixture(model: ModelSummary) -> str:
    """The active parameters of a mixture; publishers count them with the input embedding or without."""
    active, multiplied = model.active_params, model.active_params_without_embedding
    if active is None or active == model.params:
        return ""
    without = f", {format_count(multiplied)} without" if multiplied not in (None, active) else ""
    return f" ({format_count(active)} active with the embedding{without})"


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
