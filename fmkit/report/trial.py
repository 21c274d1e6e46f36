"""A trial for people: predicted beside measured, speed, what the model said, and the checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fmkit.report.common import print_table, say
from fmkit.units import format_bytes, format_rate, format_seconds, format_tokens

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.results.trial import Check, Sample, TrialResult

PARTS = {
    "weights": "weights",
    "cache": "cache",
    "activations": "activations",
    "allocated_peak_bytes": "allocated peak",
    "process_peak_bytes": "process peak",
}
"""The parts shown, and what they are called."""

MARKS = {True: "pass", False: "FAIL", None: "n/a"}


def print_trial(result: TrialResult, console: Console) -> None:
    """Draw the whole answer on a rich console of any width from 40 columns."""
    say(console, headline(result), style="bold")
    say(console, setting(result))
    console.print()
    _print_memory(result, console)
    say(console, unaccounted(result))
    console.print()
    for line in speed_lines(result):
        say(console, line)
    console.print()
    say(console, "Output:", style="bold")
    say(console, result.output or "(nothing)", indent=2)
    if result.checks:
        console.print()
        say(console, "Checks:", style="bold")
        for check in result.checks:
            say(console, check_line(check), indent=2)
    for warning in result.warnings:
        say(console, f"note: {warning}")
    for command in result.next:
        say(console, f"next: {command}")


def headline(result: TrialResult) -> str:
    """The verdict in one sentence: did the estimate hold, and did the model behave."""
    error = result.error.get("allocated_peak_bytes")
    off = "" if error is None else f" (estimate {signed_percent(error)})"
    failed = [check.name for check in result.checks if check.passed is False]
    behaved = f"; failed: {', '.join(failed)}" if failed else ""
    peak = format_bytes(result.measured["allocated_peak_bytes"])
    return f"{result.model} ran at {result.precision} and took {peak}{off}{behaved}."


def setting(result: TrialResult, *, sweep: bool = False) -> str:
    """What was run on what, in one line; for a sweep without what differs from row to row."""
    work = result.workload
    count = work.get("layers")
    layers = f", {count} layer{'' if count == 1 else 's'} only" if count else ""
    weights = "random weights" if result.random_weights else "its own weights"
    encoder = f", encoder {format_tokens(work['encoder_tokens'])}" if work.get("encoder_tokens") else ""
    size = "" if sweep else f", {work['sequences']} x {format_tokens(work['context_tokens'])} tokens{encoder}"
    return (
        f"{work['task']}{size}, {weights}{layers}, {work['dtype']}; {result.engine.name} {result.engine.version} on {result.machine['name']} "
        f"({result.machine['device']})"
    )


def unaccounted(result: TrialResult) -> str:
    """What no prediction explains, with its sign in words."""
    missed = result.unaccounted_bytes
    if missed == 0:
        return "unaccounted: 0 B: the estimate explains every byte allocated"
    side = "more" if missed > 0 else "less"
    return f"unaccounted: {format_bytes(abs(missed))} {side} than the estimate"


def speed_lines(result: TrialResult) -> list[str]:
    """Load time, time to the first token and decoding speed, with the predicted range where there is one."""
    speed = result.speed
    predicted = speed.predicted
    lines = [f"load {format_seconds(speed.load_s)}"]
    if speed.ttft_s is not None:
        name = "first token" if speed.decode_tokens_per_s is not None else "one pass"
        wait = f"{format_seconds(speed.ttft_s.mean)} +- {format_seconds(speed.ttft_s.sd)} (n = {speed.ttft_s.n})"
        lines.append(f"{name} after {wait}{_range(predicted.get('ttft_s'), seconds=True)}")
    if speed.decode_tokens_per_s is not None:
        rate = with_deviation(speed.decode_tokens_per_s)
        lines.append(f"decoding {rate} tokens/s per sequence{_range(predicted.get('decode_tokens_per_s'))}")
    if not predicted:
        lines.append("no speed was predicted: nobody measured this kind of device at this number format")
    return lines


def with_deviation(sample: Sample) -> str:
    """Mean and standard deviation of a rate.

    >>> from fmkit.results.trial import Sample
    >>> with_deviation(Sample(mean=61.2, sd=1.4, n=3))
    '61 +- 1.4 (n = 3)'
    """
    return f"{format_rate(sample.mean)} +- {sample.sd:.2g} (n = {sample.n})"


def check_line(check: Check) -> str:
    """One check in one line."""
    value = "" if check.value is None else f" {check.value:.3g}"
    limit = "" if check.threshold is None else f" (limit {check.threshold:.3g})"
    return f"{MARKS[check.passed]:4} {check.name}{value}{limit}: {check.detail}"


def signed_percent(fraction: float) -> str:
    """A fraction as a percentage with its sign.

    >>> signed_percent(0.0), signed_percent(-0.0312), signed_percent(0.0004)
    ('exact', '-3.1 %', '+0.04 %')
    """
    if fraction == 0:
        return "exact"
    return f"{fraction:+.1%}".replace("%", " %") if abs(fraction) >= 0.001 else f"{fraction:+.2%}".replace("%", " %")


def _range(predicted: Any, *, seconds: bool = False) -> str:  # noqa: ANN401  JSON of a Range
    if not predicted:
        return ""
    show = format_seconds if seconds else format_rate
    return f"; predicted {show(predicted['low'])} to {show(predicted['high'])}"


def _print_memory(result: TrialResult, console: Console) -> None:
    rows = [
        (
            name,
            _bytes(result.predicted.get(part)),
            _bytes(result.measured.get(part)),
            "-" if part not in result.error else signed_percent(result.error[part]),
        )
        for part, name in PARTS.items()
        if part in result.predicted or part in result.measured
    ]
    print_table(console, ("memory", "predicted", "measured", "error"), rows, right=(1, 2, 3))


def _bytes(count: int | None) -> str:
    return "unknown" if count is None else format_bytes(count)
