"""A recommendation for people: the verdict, the list, why the others are out, what would change the answer."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from textwrap import wrap
from typing import TYPE_CHECKING

from fmkit.units import format_bytes, format_rate, format_seconds

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.results.recommend import Evidence, Pick, Quality, QuantisedVariant, RecommendResult
    from fmkit.speed.estimate import Range

WIDE_COLUMNS = 100
MEDIUM_COLUMNS = 80
MANY = 4
NOT_MEANT = frozenset({"task", "kind", "tuning", "size", "retired"})
"""Constraints that nobody asked for: models that are for something else come last among the excluded."""
EVIDENCE_MARKS = {"independent": "", "mixed": "~", "vendor": "!"}
MARKS_LEGEND = (
    "quality: 0 to 1 among the catalog's models, with its 80 % interval; ~ some, ! all scores vendor-reported, "
    "* estimated from scores on other benchmarks"
)

NOBODY = {"none": "no model is left", "not ranked": "too few models with a score are left to rank them"}

COLUMNS = (
    "rank", "model", "precision", "peak_bytes", "decode_tokens_per_s_low", "decode_tokens_per_s_high", "quality",
    "quality_low", "quality_high", "evidence", "score", "licence", "licence_class", "usd_per_1m_tokens", "tied_with",
)  # fmt: skip


def print_recommendation(result: RecommendResult, console: Console, *, explain: bool = False) -> None:
    """Draw the whole answer on a rich console of any width."""
    from rich.text import Text

    _say(console, result.verdict, bold=True)
    if result.picks:
        console.print()
        _print_table(result, console)
        _print_notes_on_picks(result, console, explain=explain)
        _print_found(result, console)
        _print_live(result, console, explain=explain)
    if result.why_not:
        console.print()
    for line in result.why_not:
        _say(console, line)
    _print_excluded(result, console)
    _print_changes(result, console)
    console.print()
    console.print(Text(f"catalog of {result.catalog}", style="dim"))
    if result.picks:
        for command in result.picks[0].next:
            # whole, however narrow the terminal: a command must survive copying
            console.print(Text(f"next: {command}"), soft_wrap=True)


def _say(console: Console, text: str, *, indent: int = 0, bold: bool = False) -> None:
    """Print plain text, wrapped and indented; nothing in it is taken for markup."""
    from rich.text import Text

    width = max(console.width - indent, 20)
    for line in wrap(text, width, break_on_hyphens=False) or [""]:
        console.print(Text(" " * indent + line, style="bold" if bold else ""), no_wrap=True, crop=False)


def _print_table(result: RecommendResult, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    wide, medium = console.width >= WIDE_COLUMNS, console.width >= MEDIUM_COLUMNS
    table = Table(box=None, pad_edge=False, padding=(0, 2 if medium else 1, 0, 0), header_style="bold")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("model", overflow="fold", min_width=14)
    table.add_column("prec", no_wrap=True)
    table.add_column("memory", justify="right", no_wrap=medium)
    table.add_column("tok/s", justify="right", no_wrap=medium)
    table.add_column("quality", no_wrap=medium, min_width=11)
    if medium:
        table.add_column("licence", overflow="fold", min_width=10)
    if wide:
        table.add_column("USD/1M", justify="right", no_wrap=True)
        table.add_column("score", justify="right", no_wrap=True)
    for pick in result.picks:
        cells = [_rank(pick, result), pick.model, pick.precision or "API", _memory(pick), _speed(pick), _quality(pick)]
        cells += [pick.licence.id + ("" if pick.licence.verified else " ?")] if medium else []
        cells += [_price(pick), _score(pick)] if wide else []
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    if any(pick.quality.value is not None for pick in result.picks):
        _say(console, MARKS_LEGEND)
    if wide:
        for line in _price_legend(result):
            _say(console, line)


def _mark(quality: Quality) -> str:
    return EVIDENCE_MARKS[evidence_class(quality.evidence)] if quality.evidence else "*"


def _rank(pick: Pick, result: RecommendResult) -> str:
    """The place; models that can't be told apart all bear that of the first of them: 1=, 1=, 3."""
    if pick.rank is None:
        return "-"
    shared = [other.rank for other in result.picks if other.model in pick.tied_with and other.rank is not None]
    return f"{min(pick.rank, *shared)}=" if shared else str(pick.rank)


def _memory(pick: Pick) -> str:
    return "-" if pick.memory is None else format_bytes(pick.memory.peak_bytes)


def _speed(pick: Pick) -> str:
    if pick.speed is None:
        return "-" if pick.memory is None else "unknown"
    rate = pick.speed.decode_tokens_per_s or pick.speed.prefill_tokens_per_s
    return "-" if rate is None else _range(rate)


def _range(rate: Range) -> str:
    return f"{format_rate(rate.low)}-{format_rate(rate.high)}"


def _quality(pick: Pick) -> str:
    quality = pick.quality
    if quality.value is None or quality.low is None or quality.high is None:
        return "no score"
    return f"{quality.value:.2f}{_mark(quality)} ({quality.low:.2f}-{quality.high:.2f})"


def _price(pick: Pick) -> str:
    price = None if pick.cost is None else pick.cost.usd_per_1m_tokens
    return "-" if price is None else format_rate(price)


def _price_legend(result: RecommendResult) -> list[str]:
    """What the prices of the table rest on, shown at the first that has one of each kind."""
    priced = [pick for pick in result.picks if pick.cost is not None and pick.cost.usd_per_1m_tokens is not None]
    hosted = next((pick for pick in priced if pick.memory is not None), None)
    listed = next((pick for pick in priced if pick.memory is None), None)
    return [f"USD/1M of {pick.model}: {pick.cost.assumption}" for pick in (hosted, listed) if pick and pick.cost]


def _score(pick: Pick) -> str:
    return "-" if pick.score is None else f"{pick.score:.2f}"


def evidence_class(evidence: Sequence[Evidence]) -> str:
    """Who reported the scores: `independent` all of them, `vendor` none independent, else `mixed`."""
    independent = sum(one.reported_by == "independent" for one in evidence)
    if independent == len(evidence):
        return "independent"
    return "mixed" if independent else "vendor"


def _print_notes_on_picks(result: RecommendResult, console: Console, *, explain: bool) -> None:
    """For the first pick what one must know; with `explain` for each pick everything behind its score."""
    for pick in result.picks if explain else result.picks[:1]:
        console.print()
        _say(console, pick.model, bold=True)
        for line in _explained(pick) if explain else ():
            _say(console, line, indent=2)
        for reason in pick.reasons:
            _say(console, reason, indent=2)
        if pick.tied_with:
            _say(console, f"can't be told apart from {', '.join(pick.tied_with)}", indent=2)
        for warning in pick.warnings:
            _say(console, f"note: {warning}", indent=2)
        if not explain and pick.licence.conditions:
            _say(console, f"licence {pick.licence.id}: {_sentence(pick.licence.conditions)}", indent=2)


def _print_live(result: RecommendResult, console: Console, *, explain: bool) -> None:
    """What the Hub says today, a line for each pick; nothing where it was not asked."""
    asked = [pick for pick in result.picks if pick.live is not None]
    if not asked:
        return
    console.print()
    _say(console, "On the Hub", bold=True)
    for pick in asked:
        _say(console, f"{pick.model}: {_live_facts(pick)}", indent=2)
        for published in pick.live.evaluation_results if explain and pick.live is not None else ():
            task = "" if published.task is None else f" {published.task}"
            source = published.source or "no source named"
            _say(
                console,
                f"published there, not checked: {published.dataset}{task} {published.value:g} ({source})",
                indent=4,
            )
        for copy in pick.variants:
            _say(console, _copy(copy), indent=4)


def _print_found(result: RecommendResult, console: Console) -> None:
    """Why models that the catalog lacks are in the list, and what is not known of them."""
    found = [pick for pick in result.picks if pick.origin == "hub"]
    if not found:
        return
    console.print()
    _say(console, "Found on the Hub, not ranked", bold=True)
    for pick in found:
        _say(console, pick.model, indent=2)
        for text in (*pick.reasons, *(f"note: {warning}" for warning in pick.warnings)):
            _say(console, text, indent=4)


def _copy(copy: QuantisedVariant) -> str:
    """A quantised copy in one line.

    >>> from fmkit.results.recommend import QuantisedVariant
    >>> _copy(QuantisedVariant(hub_id="a/b-GGUF", publisher="a", official=False, method="GGUF", label="Q4_K_M", bytes=2**30,
    ...     downloads=5, gated=False, last_change="2026-11-01"))
    'GGUF Q4_K_M: 1.00 GiB in a/b-GGUF, changed 2026-11-01'
    """
    label = f" {copy.label}" if copy.label != copy.method else ""
    facts = [f"{copy.method}{label}: {format_bytes(copy.bytes)} in {copy.hub_id}"]
    facts += ["the publisher's own"] if copy.official else []
    facts += ["gated"] if copy.gated else []
    facts += [f"changed {copy.last_change}"] if copy.last_change else []
    return ", ".join(facts)


def _live_facts(pick: Pick) -> str:
    found = pick.live
    if found is None:
        return "not asked"
    counts = (
        (found.downloads, "downloads in 30 days"),
        (found.likes, "likes"),
        (found.trending, "trending"),
        (found.evaluations or None, "evaluations"),
    )
    facts = [f"{count:,} {noun}" for count, noun in counts if count is not None]
    facts += [f"licence tag {found.licence or 'none'}", "gated" if found.gated else "not gated"]
    facts += [f"changed {found.last_change}"] if found.last_change else []
    return f"{', '.join(facts)} (asked on {found.asked_on})"


def _explained(pick: Pick) -> list[str]:
    parts = {name: getattr(pick.parts, name) for name in pick.parts.__struct_fields__}
    stated = ", ".join(f"{name} {'unknown' if value is None else f'{value:.2f}'}" for name, value in parts.items())
    lines = [f"score {_score(pick)}: {stated} (quality counts half-way to the low end of its interval)"]
    lines += [
        f"{one.benchmark} ({one.variant or 'variant not stated'}): {one.score:g} {one.unit}, {one.reported_by}, {one.date}, "
        f"{one.source}"
        for one in pick.quality.evidence
    ]
    lines += [
        f"{one.benchmark}: {one.score:.1f} ({one.low:.1f} to {one.high:.1f}), estimated from {one.from_scores} other scores"
        for one in pick.quality.estimated
    ]
    if pick.quality.missing:
        lines.append(f"no score on {', '.join(pick.quality.missing)}")
    if pick.task_units:
        lines.append(", ".join(f"{unit.replace('_', ' ')} {figure}" for unit, figure in pick.task_units.items()))
    lines += _speed_and_cost(pick)
    facts = pick.licence
    state = "" if facts.verified else ", text not read"
    lines.append(f"licence {facts.id} ({facts.licence_class}{state}): {_sentence(facts.conditions)} [{facts.source}]")
    return lines


def _speed_and_cost(pick: Pick) -> list[str]:
    lines = []
    if pick.speed is not None:
        wait = pick.speed.ttft_s
        first = "" if wait is None else f"first token {format_seconds(wait.low)} to {format_seconds(wait.high)}; "
        lines.append(f"speed: {first}{pick.speed.reason}")
    if pick.cost is not None:
        dated = f", prices of {pick.cost.price_date}" if pick.cost.price_date else ""
        lines.append(f"cost: {_price(pick)} USD per 1M tokens: {pick.cost.assumption}{dated}")
        if pick.cost.usd_per_month is not None:
            lines.append(f"cost per month: {pick.cost.usd_per_month:,.2f} USD")
        if pick.cost.break_even_utilisation is not None:
            lines.append(f"break-even with the API at {pick.cost.break_even_utilisation:.0%} utilisation")
    return lines


def _print_excluded(result: RecommendResult, console: Console) -> None:
    groups: dict[str, list[str]] = {}
    for one in result.excluded:
        missed = f" by {one.missed_by}" if one.missed_by else ""
        groups.setdefault(one.constraint, []).append(f"{one.model}{missed}")
    if not groups:
        return
    console.print()
    _say(console, f"{len(result.excluded)} models are out:", bold=True)
    for constraint, models in sorted(groups.items(), key=lambda g: (g[0] in NOT_MEANT, -len(g[1]), g[0])):
        _say(console, f"{constraint} {len(models)}: {_some(models)}", indent=2)


def _print_changes(result: RecommendResult, console: Console) -> None:
    if not result.relax and not result.sensitivity:
        return
    console.print()
    _say(console, "What would change the answer:", bold=True)
    for change in result.sensitivity:
        winner = NOBODY.get(change.new_winner, change.new_winner)
        _say(console, f"{change.change}: {winner}", indent=2)
    for loosened in result.relax:
        _say(console, f"{loosened.constraint} {loosened.to}: adds {_some(loosened.would_add)}", indent=2)


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    return f"{', '.join(names[:MANY])}{rest}"


def _sentence(conditions: Sequence[str]) -> str:
    return "; ".join(condition.rstrip(".") for condition in conditions)


def table_rows(result: RecommendResult) -> list[list[str]]:
    """One row of plain text per pick, in the order of COLUMNS; unknown is empty."""
    rows = []
    for pick in result.picks:
        rate = None if pick.speed is None else pick.speed.decode_tokens_per_s
        figures: list[object] = [
            pick.rank,
            pick.model,
            pick.precision,
            None if pick.memory is None else pick.memory.peak_bytes,
            None if rate is None else f"{rate.low:.4g}",
            None if rate is None else f"{rate.high:.4g}",
            pick.quality.value,
            pick.quality.low,
            pick.quality.high,
            evidence_class(pick.quality.evidence) if pick.quality.evidence else None,
            pick.score,
            pick.licence.id,
            pick.licence.licence_class,
            None if pick.cost is None else pick.cost.usd_per_1m_tokens,
            " ".join(pick.tied_with),
        ]
        rows.append(["" if figure is None else str(figure) for figure in figures])
    return rows


def csv_table(result: RecommendResult) -> str:
    """The picks as CSV with a header."""
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(table_rows(result))
    return buffer.getvalue()


def markdown_table(result: RecommendResult) -> str:
    """The verdict and the picks as a Markdown table."""
    lines = [result.verdict, ""]
    header = ("#", "model", "precision", "memory", "tokens/s", "quality", "licence", "USD per 1M", "score")
    lines.append(f"| {' | '.join(header)} |")
    lines.append(f"|{'|'.join(' --- ' for _ in header)}|")
    for pick in result.picks:
        cells = (_rank(pick, result), pick.model, pick.precision or "API", _memory(pick), _speed(pick), _quality(pick),
                 pick.licence.id, _price(pick), _score(pick))  # fmt: skip
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    legend = _price_legend(result)
    lines += ["", *legend] if legend else []
    return "\n".join(lines) + "\n"
