"""A sweep for people: one row for each workload, predicted beside measured, and what could not be measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import NARROW_COLUMNS, bytes_or_unknown, print_table, say
from fmkit.report.trial import busy_lines, setting, signed_percent
from fmkit.units import format_rate, format_seconds, format_tokens

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.results.trial import SweepResult, TrialResult, Unmeasured

COLUMNS = ("precision", "context", "seqs", "allocated peak", "estimate", "process peak", "first token", "tokens/s each")
NARROW = (0, 1, 2, 3, 4)
"""The columns that a narrow terminal shows."""

SERVER_COLUMNS = ("context", "seqs", "first token", "tokens/s each", "tokens/s of all")
"""Those of a sweep at a server, whose memory is not seen."""


def print_sweep(result: SweepResult, console: Console) -> None:
    """Draw the table on a rich console of any width."""
    say(console, headline(result), style="bold")
    if result.trials:
        say(console, setting(result.trials[0], sweep=True))
        console.print()
        if result.trials[0].server is not None:
            print_table(console, SERVER_COLUMNS, [server_row(one) for one in result.trials], right=range(5))
            _print_notes(result, console)
            return
        columns = NARROW if console.width < NARROW_COLUMNS else range(len(COLUMNS))
        rows = [tuple(row(one)[index] for index in columns) for one in result.trials]
        print_table(console, [COLUMNS[index] for index in columns], rows, right=range(1, len(COLUMNS)))
    _print_notes(result, console)


def _print_notes(result: SweepResult, console: Console) -> None:
    """What was not measured, and what has to be known of the rest."""
    for one in result.failed:
        say(console, f"not measured: {failure_line(one)}")
    busiest = max(result.trials, key=lambda one: one.machine.busy_share or 0.0, default=None)
    for line in [] if busiest is None else busy_lines(busiest):
        say(console, f"note: {line}")
    for warning in dict.fromkeys(warning for one in result.trials for warning in one.warnings):
        say(console, f"note: {warning}")


def headline(result: SweepResult) -> str:
    """How many workloads ran, and how far off the estimates were."""
    count = len(result.trials)
    ran = f"{result.model}: {count} workload{'' if count == 1 else 's'} measured"
    left = f", {len(result.failed)} not" if result.failed else ""
    known = [one for one in result.trials if "allocated_peak_bytes" in one.measured]
    errors = sorted(abs(one.error.get("allocated_peak_bytes", 0.0)) for one in known)
    return f"{ran}{left}{_worst(errors)}."


def _worst(errors: list[float]) -> str:
    """How far off the worst estimate of the allocated peak was.

    >>> _worst([]), _worst([0.0, 0.0]), _worst([0.0, 0.0123])
    ('', '; every estimate exact', '; estimates off by at most 1.2 %')
    """
    if not errors:
        return ""
    return f"; estimates off by at most {100 * errors[-1]:.2g} %" if errors[-1] else "; every estimate exact"


def row(trial: TrialResult) -> tuple[str, ...]:
    """The cells of one workload."""
    speed, error = trial.speed, trial.error.get("allocated_peak_bytes")
    process, allocated = (trial.measured.get(part) for part in ("process_peak_bytes", "allocated_peak_bytes"))
    return (
        trial.precision,
        format_tokens(trial.workload.context_tokens),
        str(trial.workload.sequences),
        bytes_or_unknown(allocated),
        "-" if error is None else signed_percent(error),
        bytes_or_unknown(process),
        "-" if speed.ttft_s is None else format_seconds(speed.ttft_s.mean),
        "-" if speed.decode_tokens_per_s is None else format_rate(speed.decode_tokens_per_s.mean),
    )


def server_row(trial: TrialResult) -> tuple[str, ...]:
    """The cells of one workload at a server."""
    speed = trial.speed
    rates = (speed.decode_tokens_per_s, speed.throughput_tokens_per_s)
    return (
        format_tokens(trial.workload.context_tokens),
        str(trial.workload.sequences),
        "-" if speed.ttft_s is None else format_seconds(speed.ttft_s.mean),
        *("-" if rate is None else format_rate(rate.mean) for rate in rates),
    )


def failure_line(one: Unmeasured) -> str:
    """Which workload, and why not."""
    if one.context_tokens is None:
        return f"{one.precision}: {one.reason}"
    return f"{one.precision}, {one.sequences} x {format_tokens(one.context_tokens)} tokens: {one.reason}"
