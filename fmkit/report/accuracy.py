"""What `fmkit accuracy` says."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fmkit.report.common import csv_text, markdown_table, print_next, print_records, say
from fmkit.units import format_percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from fmkit.results.accuracy import AccuracyGroup, AccuracyResult, FitRule

HEADER = [
    "quantity",
    "engine",
    "release",
    "device",
    "rows",
    "left out",
    "median",
    "p90",
    "bias",
    "within 30 %",
    "covered",
]
NUMBERS = range(4, 11)
CSV_COLUMNS = (
    "quantity", "engine", "engine_version", "device", "rows", "left_out", "median_error", "p90_error", "bias", "within_30_percent",
    "interval_coverage",
)  # fmt: skip
MOST_REASONS = 12
TWO_DIGITS_BELOW = 0.0995
"""From here on a fraction is printed in whole percent: 9.95 % would be 10 %."""


def print_accuracy(result: AccuracyResult, console: Console, *, detail: bool = False) -> None:
    """Draw the errors by engine, with `detail` by release and device too, the verdicts on memory, and why rows are left out."""
    say(console, f"predictions held against {' and '.join(result.measured_in)}", style="bold")
    _print_groups(console, result.engines)
    if result.own:
        say(console, "\nshipped measurements and your own trials, side by side")
        _print_side_by_side(console, result)
    if result.out_of_memory:
        say(console, "\nout of memory or not, foreseen")
        _print_rules(console, result.out_of_memory, detail=detail)
    if detail:
        say(console, "\npeaks of memory by release of the engine")
        _print_groups(console, result.versions)
        say(console, "\nby device")
        _print_groups(console, result.groups)
    reasons = Counter(item.reason for item in result.left_out)
    if reasons:
        say(console, f"\n{sum(reasons.values()):,} figures left out, the most frequent reasons")
        for reason, count in reasons.most_common(None if detail else MOST_REASONS):
            say(console, f"{count:>5}  {reason}")
    for note in result.notes:
        say(console, f"note: {note}")
    if not detail:
        print_next(["fmkit accuracy --detail"], console)


def _print_groups(console: Console, groups: Sequence[AccuracyGroup]) -> None:
    """Groups without a row scored are left to the reasons."""
    rows = [_cells(group) for group in groups if group.rows]
    if not rows:
        say(console, "no figure could be scored", indent=2)
        return
    shown = [place for place in range(len(HEADER)) if any(row[place] for row in rows)]
    cut = [[row[place] for place in shown] for row in rows]
    header = [HEADER[place] for place in shown]
    numbers = [place for place, column in enumerate(shown) if column in NUMBERS]
    names = [place for place in range(len(shown)) if place not in numbers]
    first = [place for place in numbers if header[place] in ("rows", "median", "p90")]
    rest = [place for place in numbers if place not in first]
    hidden = print_records(console, header, cut, order=[*names, *first, *rest], right=numbers)
    if hidden:
        say(console, f"a wider terminal also shows: {', '.join(hidden)}")


def _print_side_by_side(console: Console, result: AccuracyResult) -> None:
    """What was measured here, beside the same quantity and engine as others measured it."""
    shipped = {(group.quantity, group.engine): group for group in result.shipped}
    rows = []
    for own in result.own:
        other = shipped.get((own.quantity, own.engine))
        theirs = ["", "", ""] if other is None else [f"{other.rows:,}", *_errors(other)]
        rows.append([own.quantity, own.engine or "", f"{own.rows:,}", *_errors(own), *theirs])
    header = ["quantity", "engine", "own", "median", "p90", "shipped", "median", "p90"]
    print_records(console, header, rows, order=[0, 2, 3, 5, 6, 1, 4, 7], right=range(2, 8))


def _errors(group: AccuracyGroup) -> list[str]:
    return [percent(group.median_error), percent(group.p90_error)]


def _cells(group: AccuracyGroup) -> list[str]:
    return [
        group.quantity,
        group.engine or "",
        group.engine_version or "",
        group.device or "",
        f"{group.rows:,}",
        f"{group.left_out:,}" if group.engine_version is None else "",
        percent(group.median_error),
        percent(group.p90_error),
        percent(group.bias, sign=True),
        percent(group.within_30_percent),
        percent(group.interval_coverage),
    ]


def _print_rules(console: Console, rules: Sequence[FitRule], *, detail: bool) -> None:
    header = ["rule", "engine", "of those that ran out", "of those that fit"]
    rows = [
        [
            rule.rule,
            rule.engine or "all",
            _recall(rule.recall_oom, rule.oom_rows),
            _recall(rule.recall_ok, rule.ok_rows),
        ]
        for rule in rules
        if detail or rule.engine is None
    ]
    print_records(console, header, rows, order=[0, 2, 3, 1], right=[2, 3])


def _recall(fraction: float | None, rows: int) -> str:
    """How many of `rows` were foreseen.

    >>> _recall(0.9697, 33), _recall(None, 0)
    ('32 of 33', '-')
    """
    return "-" if fraction is None else f"{round(fraction * rows):,} of {rows:,}"


def percent(fraction: float | None, *, sign: bool = False) -> str:
    """A fraction in percent, two digits below ten; empty where there is none.

    >>> percent(0.00314), percent(0.25), percent(-0.02, sign=True), percent(None)
    ('0.31 %', '25 %', '-2.00 %', '')
    """
    if fraction is None:
        return ""
    return format_percent(fraction, digits=2 if abs(fraction) < TWO_DIGITS_BELOW else 0, sign=sign)


def csv_table(result: AccuracyResult) -> str:
    """One line per quantity, engine and device."""
    return csv_text(CSV_COLUMNS, ([getattr(group, name) for name in CSV_COLUMNS] for group in result.groups))


def markdown_text(result: AccuracyResult) -> str:
    """The errors by engine."""
    shown = [0, 1, *NUMBERS]
    rows = [_cells(group) for group in result.engines]
    return markdown_table([HEADER[place] for place in shown], ([row[place] for place in shown] for row in rows))
