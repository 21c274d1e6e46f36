"""A trial for people: predicted beside measured, speed, what the model said, and the checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fmkit.report.checks import print_results
from fmkit.report.common import bytes_or_unknown, print_next, print_table, say
from fmkit.report.trial_ranks import print_ranks
from fmkit.results.trial_setting import UNKNOWN
from fmkit.units import format_bytes, format_percent, format_rate, format_seconds, format_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from fmkit.results.trial import MemoryLimit, Sample, TrialResult

PARTS = {
    "weights": "weights",
    "cache": "cache",
    "activations": "activations",
    "allocated_peak_bytes": "allocated peak",
    "process_peak_bytes": "process peak",
    "weights_in_host_bytes": "weights off-loaded",
    "weights_on_disk_bytes": "weights on disk",
}
"""The parts shown, and what they are called."""


def print_trial(result: TrialResult, console: Console) -> None:
    """Draw the whole answer on a rich console of any width from 40 columns."""
    say(console, headline(result), style="bold")
    say(console, setting(result))
    for line in server_lines(result):
        say(console, line)
    console.print()
    _print_memory(result, console)
    print_ranks(result, console)
    for line in memory_lines(result):
        say(console, line)
    console.print()
    for line in speed_lines(result):
        say(console, line)
    console.print()
    if result.asked:
        say(console, f"Input: {result.asked}")
    say(console, "Output:", style="bold")
    say(console, output_lines(result), indent=2)
    for line in inputs_lines(result):
        say(console, line)
    if result.checks:
        console.print()
        say(console, "Checks:", style="bold")
        print_results(result.checks, console)
    for warning in result.warnings:
        say(console, f"note: {warning}")
    print_next(result.next, console)


def headline(result: TrialResult) -> str:
    """The verdict in one sentence: did the estimate hold, and did the model behave."""
    error = result.error.get("allocated_peak_bytes")
    off = "" if error is None else f" (estimate {signed_percent(error)})"
    failed = [check.name for check in result.checks if check.passed is False]
    failed = [*(["output"] if result.output_error is not None else []), *failed]
    behaved = f"; failed: {', '.join(failed)}" if failed else ""
    if "allocated_peak_bytes" not in result.measured:
        return f"{result.model} answered from {result.machine.name}{_rates(result)}{behaved}."
    peak = format_bytes(result.measured["allocated_peak_bytes"])
    in_file = result.engine.name == "llama.cpp"  # whose files have a type of their own
    precision = f"{result.workload.dtype}, as stored," if in_file else result.precision
    where = f" on {len(result.ranks)} ranks together" if result.ranks else ""
    return f"{result.model} ran at {precision} and took {peak}{where}{off}{behaved}."


def setting(result: TrialResult, *, sweep: bool = False) -> str:
    """What was run on what, in one line; for a sweep without what differs from row to row."""
    work = result.workload
    if result.server is not None:
        size = "" if sweep else f", {work.sequences} x {format_tokens(work.context_tokens)} tokens"
        precision = "" if result.precision == "unknown" else f", {result.precision}"
        return f"{work.task}{size}{precision}; {_server_name(result)} at {result.server.address}"
    count = work.layers
    layers = f", {count} layer{'' if count == 1 else 's'} only" if count else ""
    weights = "random weights" if result.random_weights else "its own weights"
    if work.gpu_layers is not None:
        weights = f"{weights}, gpu_layers={work.gpu_layers}"
    if work.n_cpu_moe:
        weights = f"{weights}, n_cpu_moe={work.n_cpu_moe}"
    encoder = f", encoder {format_tokens(work.encoder_tokens)}" if work.encoder_tokens else ""
    size = "" if sweep else f", {work.sequences} x {format_tokens(work.context_tokens)} tokens{encoder}"
    return (
        f"{work.task}{size}, {weights}{layers}, {work.dtype}; {result.engine.name} {result.engine.version} on {result.machine.name} "
        f"({result.machine.device})"
    )


def _server_name(result: TrialResult) -> str:
    """What serves, as far as it says."""
    name, version = result.engine.name, result.engine.version
    if name == UNKNOWN:
        return "a server that does not say what it is"
    return f"{name}, version unknown," if version == UNKNOWN else f"{name} {version}"


def output_lines(result: TrialResult) -> str:
    """What the model said, or why there is nothing."""
    if result.output_error is not None:
        return f"(none: it failed, after memory and times were measured: {result.output_error})"
    return result.output or "(nothing)"


def resident(measured: dict[str, int]) -> str:
    """What the process held in main memory after its last step: its own pages and those of files; empty where nobody says."""
    own, of_files = measured.get("resident_anonymous_bytes"), measured.get("resident_file_bytes")
    if own is None or of_files is None:
        return ""
    return f"resident after decoding: {format_bytes(own)} anonymous, {format_bytes(of_files)} of files"


def memory_lines(result: TrialResult) -> Iterator[str]:
    """What is said below the table of memory."""
    if result.unaccounted_bytes is not None:
        yield unaccounted(result.unaccounted_bytes)
    if held := resident(result.measured):
        yield held
    if result.memory_limit is not None:
        yield limit_line(result.memory_limit)


def unaccounted(missed_bytes: int) -> str:
    """What no prediction explains, with its sign in words."""
    if missed_bytes == 0:
        return "unaccounted: 0 B: the estimate explains every byte allocated"
    side = "more" if missed_bytes > 0 else "less"
    return f"unaccounted: {format_bytes(abs(missed_bytes))} {side} than the estimate"


def limit_line(limit: MemoryLimit) -> str:
    """The limit, and what held it.

    >>> from fmkit.results.trial import MemoryLimit
    >>> limit_line(MemoryLimit(limit_bytes=2**30, means=("watch",), covers="resident memory"))
    'limit 1.00 GiB, held by watch: resident memory'
    """
    return f"limit {format_bytes(limit.limit_bytes)}, held by {' and '.join(limit.means) or 'nothing'}: {limit.covers}"


def server_lines(result: TrialResult) -> list[str]:
    """What a server said of itself and how its tokens were counted; nothing for a model that ran here."""
    server, work = result.server, result.workload
    if server is None:
        return []
    prompt = work.timed_prompt_tokens
    read = "an unknown number of" if prompt is None else f"{prompt:,}"
    counted = "as the server counts" if server.token_count == "usage" else "counted as the chunks that came"  # noqa: S105  no password
    lines = [f"{server.api}: {read} tokens read, {work.timed_decode_tokens} written in each stream, {counted}"]
    told = [
        *([f"weights {server.weights_type}"] if server.weights_type else []),
        *([f"{format_bytes(server.weights_bytes)} of tensors"] if server.weights_bytes else []),
        *([f"a limit of {format_tokens(server.max_context_tokens)} tokens"] if server.max_context_tokens else []),
        *([f"{server.slots} sequences at once"] if server.slots else []),
        *([f"a cache of {format_tokens(server.cache_tokens)} tokens"] if server.cache_tokens else []),
        *([f"{format_percent(server.cache_usage_peak)} of it used"] if server.cache_usage_peak is not None else []),
        *([f"{format_bytes(server.memory_bytes)} in memory"] if server.memory_bytes else []),
        *([f"{format_bytes(server.device_memory_bytes)} on the device"] if server.device_memory_bytes else []),
    ]
    lines.append(f"the server says: {', '.join(told)}" if told else "the server says nothing of its memory")
    return lines


def _rates(result: TrialResult) -> str:
    """First token and rate for a headline."""
    wait, rate = result.speed.ttft_s, result.speed.decode_tokens_per_s
    first = "" if wait is None else f": first token after {format_seconds(wait.mean)}"
    return f"{first}{'' if rate is None else f', then {format_rate(rate.mean)} tokens/s in each stream'}"


def speed_lines(result: TrialResult) -> list[str]:
    """Load time, time to the first token and decoding speed, with the predicted range where there is one."""
    speed = result.speed
    predicted = speed.predicted
    lines = [] if speed.load_s is None else [f"load {format_seconds(speed.load_s)}"]
    if speed.ttft_s is not None:
        name = "first token" if speed.decode_tokens_per_s is not None else "one pass"
        wait = with_deviation(speed.ttft_s, format_seconds)
        lines.append(f"{name} after {wait}{_range(predicted.get('ttft_s'), seconds=True)}")
    if speed.prefill_tokens_per_s is not None:
        rate = with_deviation(speed.prefill_tokens_per_s)
        lines.append(f"prompt {rate} tokens/s{_range(predicted.get('prefill_tokens_per_s'))}")
    if speed.decode_tokens_per_s is not None:
        rate = with_deviation(speed.decode_tokens_per_s)
        lines.append(f"decoding {rate} tokens/s per sequence{_range(predicted.get('decode_tokens_per_s'))}")
    if speed.throughput_tokens_per_s is not None:
        total = with_deviation(speed.throughput_tokens_per_s)
        lines.append(f"all together {total} tokens/s, the reading of the prompts included")
    if not predicted and result.server is None and not any(note.startswith("no speed ") for note in result.warnings):
        lines.append("no speed was predicted: nobody measured this kind of device at this number format")
    return [*lines, *busy_lines(result)]


def busy_lines(result: TrialResult) -> list[str]:
    """That others used the processors while times were taken, so that these are not what the machine can do."""
    share = result.machine.busy_share
    if share is None or not result.machine.was_busy or result.speed.ttft_s is None:
        return []
    return [
        f"other programs used {format_percent(share, digits=0)} of the processors while times were taken, which may be too long; no estimate rests on them"
    ]


def inputs_lines(result: TrialResult) -> list[str]:
    """What became of many inputs, and how fast they were answered; nothing for a single one."""
    found = result.inputs
    if found is None:
        return []
    before = f", {found.before:,} in a run before" if found.before else ""
    failed = f", {found.failed:,} failed" if found.failed else ""
    kept = "; not kept: --output FILE.jsonl" if found.output_file is None else f"; in {found.output_file}"
    rates = (
        (found.inputs_per_s, "inputs/s"),
        (found.input_tokens_per_s, "tokens read/s"),
        (found.output_tokens_per_s, "tokens written/s"),
    )
    speeds = [f"{with_deviation(rate)} {unit}" for rate, unit in rates if rate is not None]
    lines = [f"{found.answered:,} answered{before}{failed}{kept}"]
    lines += [f"one after the other: {', '.join(speeds)}"] if speeds else []
    lines += [] if found.equal_share is None else [f"equal to their reference: {format_percent(found.equal_share)}"]
    lines += (
        [] if found.word_error_rate is None else [f"word error rate of all: {format_percent(found.word_error_rate)}"]
    )
    return lines


def with_deviation(sample: Sample, show: Callable[[float], str] | None = None) -> str:
    """Mean and standard deviation, in the words of `show` (default: a rate's); one measurement has no deviation.

    >>> from fmkit.results.trial import Sample
    >>> with_deviation(Sample(mean=61.2, sd=1.4, n=3)), with_deviation(Sample(mean=61.2, sd=0.0, n=1))
    ('61 +- 1.4 (n = 3)', '61 (n = 1)')
    >>> with_deviation(Sample(mean=61.2, sd=9.4, n=7, outliers=1))
    '61 +- 9.4 (n = 7, 1 far off)'
    >>> with_deviation(Sample(mean=701.0, sd=123.0, n=3))
    '700 +- 120 (n = 3)'
    >>> with_deviation(Sample(mean=0.122, sd=0.0047, n=3), format_seconds)
    '122 ms +- 4.7 ms (n = 3)'
    """
    mean = format_rate(sample.mean) if show is None else show(sample.mean)
    deviation = f"{float(f'{sample.sd:.2g}'):g}" if show is None else show(sample.sd)
    far = f", {sample.outliers} far off" if sample.outliers else ""
    return f"{mean} +- {deviation} (n = {sample.n}{far})" if sample.n > 1 else f"{mean} (n = 1)"


def signed_percent(fraction: float) -> str:
    """A fraction as a percentage with its sign.

    >>> signed_percent(0.0), signed_percent(-0.0312), signed_percent(0.0004), signed_percent(-1e-6)
    ('exact', '-3.1 %', '+0.04 %', '< 0.01 %')
    """
    if fraction == 0:
        return "exact"
    if abs(fraction) < 0.00005:
        return "< 0.01 %"
    return format_percent(fraction, digits=1 if abs(fraction) >= 0.001 else 2, sign=True)


def _range(predicted: Any, *, seconds: bool = False) -> str:  # noqa: ANN401  JSON of a Range
    if not predicted:
        return ""
    show = format_seconds if seconds else format_rate
    return f"; predicted {show(predicted['low'])} to {show(predicted['high'])}"


def _print_memory(result: TrialResult, console: Console) -> None:
    rows = [
        (
            name,
            bytes_or_unknown(result.predicted.get(part)),
            bytes_or_unknown(result.measured.get(part)),
            "-" if part not in result.error else signed_percent(result.error[part]),
        )
        for part, name in PARTS.items()
        if part in result.predicted or part in result.measured
    ]
    if not rows:
        say(console, "memory: unknown (the server does not say it, and nothing was predicted)")
        return
    print_table(console, ("memory", "predicted", "measured", "error"), rows, right=(1, 2, 3))
