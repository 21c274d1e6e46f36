"""The kept trials for people: one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import bytes_or_unknown, print_next, print_records, say
from fmkit.report.trial import signed_percent
from fmkit.units import format_rate, format_tokens

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.results.trials import ImportResult, TrialLine, TrialList

HEADER = ("id", "date", "model", "precision", "workload", "peak", "estimate", "tokens/s", "engine", "machine")
ORDER = (0, 2, 3, 4, 5, 6, 7, 1, 9, 8)
"""The columns by how much they matter: a narrow terminal shows the first of them."""


def print_trials(result: TrialList, console: Console) -> None:
    """One line for each trial, and what to do with them."""
    if result.unreadable:
        say(
            console, f"not readable: {', '.join(result.unreadable)} (fmkit trials show {result.unreadable[0]} says why)"
        )
    if not result.trials:
        say(console, f"No trial was kept yet ({result.path}).")
        print_next(["fmkit try"], console)
        return
    left_out = print_records(console, HEADER, [_cells(one) for one in result.trials], order=ORDER, right=(5, 6, 7))
    if left_out:
        say(console, f"not shown here: {', '.join(left_out)} (a wider terminal, or --json)")
    print_next([f"fmkit trials show {result.trials[-1].id}"], console)


def print_import(result: ImportResult, console: Console) -> None:
    """How many came, and how many were new."""
    known = result.trials - result.added - len(result.conflicts)
    say(console, f"{result.file}: {result.trials} trials read, {result.added} new, {known} known already.")
    if result.conflicts:
        names = ", ".join(result.conflicts)
        say(
            console,
            f"not taken in: {names}: another trial here has the same id, and stays (a trial that was changed by hand?)",
        )
    print_next(["fmkit trials list"], console)


def _cells(one: TrialLine) -> tuple[str, ...]:
    weights = ", random weights" if one.random_weights else ""
    return (
        one.id,
        one.date[:10],
        one.model,
        one.precision,
        f"{one.sequences} x {format_tokens(one.context_tokens)}{weights}",
        bytes_or_unknown(one.allocated_peak_bytes),
        "-" if one.error is None else signed_percent(one.error),
        "-" if one.decode_tokens_per_s is None else format_rate(one.decode_tokens_per_s),
        f"{one.engine} {one.engine_version}",
        one.machine,
    )
