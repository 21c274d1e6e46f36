"""The picture of trials: memory by part, predicted beside measured, and speed, over context; a row for each precision and number of sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from fmkit.report.plots.figure import Bar, BarGroup, Figure, Panel, Point, Series
from fmkit.report.plots.units import bytes_unit, rate_words, seconds_words
from fmkit.report.sweep import failure_line
from fmkit.speed.estimate import Range
from fmkit.units import format_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fmkit.results.trial import Sample, TrialResult, Unmeasured

PARTS = ("weights", "cache", "activations")
BESIDE = "beside the tensors"
MOST = 1e15
"""Rates and times above come from a fault."""
CONTEXT = "context, tokens of each sequence"
ABOUT = (
    "The line on a predicted bar is the range of the whole peak. Beside the tensors: libraries, and what single operations and the heap take. "
    "Speed: the line and its band are the prediction, dots are means with the deviation of the repeats."
)


def trials_figure(trials: Sequence[TrialResult], failed: Sequence[Unmeasured] = ()) -> Figure:
    """A sweep, or kept trials of one model on one machine; of trials of the same workload the last is drawn."""
    if not trials:
        return Figure(title="no trial", subtitle="", rows=())
    rows: dict[tuple[str, int], dict[int, TrialResult]] = {}
    for trial in sorted(trials, key=lambda one: one.date):
        work = trial.workload
        rows.setdefault((trial.precision, work.sequences), {})[work.context_tokens] = trial
    unit, name = bytes_unit([size for one in trials for size in (*one.predicted.values(), *one.measured.values())])
    highest = max((bar.high or bar.top for one in trials for bar in _memory(one)), default=0.0)
    drawn = [_row(key, sorted(found.items()), unit, name, highest) for key, found in sorted(rows.items())]
    first = trials[0]
    weights = "random weights" if first.random_weights else "its own weights"
    return Figure(
        title=f"{first.model}: memory and speed, predicted and measured",
        subtitle=f"{first.engine.name} {first.engine.version} on {first.machine.name}, {weights}, {first.date[:10]}",
        rows=tuple(row for row in drawn if row),
        legend=(*PARTS, BESIDE),
        notes=(
            ABOUT,
            *(f"not measured: {failure_line(one)}" for one in failed),
        ),
    )


def _row(
    key: tuple[str, int], found: Sequence[tuple[int, TrialResult]], unit: float, name: str, highest: float
) -> tuple[Panel, ...]:
    """The panels of one precision and number of sequences, as far as anything is known."""
    precision, sequences = key
    about = f"{precision}, {sequences} sequence{'' if sequences == 1 else 's'}"
    groups = tuple(
        BarGroup(label=format_tokens(context), bars=bars) for context, trial in found if (bars := tuple(_memory(trial)))
    )
    panels = []
    if groups:
        panels.append(
            Panel(title=f"Peak memory: {about}", x_label=CONTEXT, y_label=name, groups=groups, unit=unit, top=highest)
        )
    reads = found[0][1].speed.decode_tokens_per_s is None
    for title, y_label, words, values in (
        (f"Decoding: {about}", "tokens/s, one sequence", rate_words, ("decode_tokens_per_s", lambda speed: speed.decode_tokens_per_s)),
        (f"{'One pass' if reads else 'First token'}: {about}", "seconds", seconds_words, ("ttft_s", lambda speed: speed.ttft_s)),
    ):  # fmt: skip
        series = tuple(_speed(found, *values))
        if any(one.measured for one in series):
            panels.append(
                Panel(title=title, x_label=CONTEXT, y_label=y_label, series=series, words=words, x_words=_tokens)
            )
    return tuple(panels)


def _tokens(count: float) -> str:
    return format_tokens(round(count))


def _memory(trial: TrialResult) -> Iterator[Bar]:
    """The predicted stack with the range of the peak, and the measured one; what is not known is not drawn."""
    low, high = (trial.predicted.get(name) for name in ("low_bytes", "high_bytes"))
    for figures, solid in ((trial.predicted, False), (trial.measured, True)):
        if "allocated_peak_bytes" not in figures:
            continue
        parts = [(part, float(figures.get(part, 0))) for part in PARTS]
        beside = figures.get("process_peak_bytes", 0) - figures["allocated_peak_bytes"]
        parts.append((BESIDE, float(max(0, beside))))
        yield Bar(parts=tuple(parts), solid=solid, low=None if solid else low, high=None if solid else high)


def _speed(
    found: Sequence[tuple[int, TrialResult]], name: str, measured: Callable[[Any], Sample | None]
) -> Iterator[Series]:
    said = [(context, _range(trial.speed.predicted.get(name))) for context, trial in found]
    predicted = tuple(Point(x=context, y=one.median, low=one.low, high=one.high) for context, one in said if one)
    samples = [(context, measured(trial.speed)) for context, trial in found]
    dots = tuple(
        Point(x=context, y=one.mean, low=max(one.mean - one.sd, one.mean / 10), high=one.mean + one.sd)
        for context, one in samples
        if one is not None and one.mean > 0
    )
    if predicted:
        yield Series(name="predicted", points=predicted)
    if dots:
        yield Series(name="measured", points=dots, measured=True)


def _range(stated: Any) -> Range | None:  # noqa: ANN401  JSON of a record, which anybody may have written
    """What was predicted, where it is a range that can be drawn."""
    try:
        found = msgspec.convert(stated, Range)
    except msgspec.ValidationError:
        return None
    return found if 0 < found.low <= found.median <= found.high < MOST else None
