"""The list of recommended models: a table on a console, CSV, Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fmkit.report.common import csv_text, markdown_table, printable, rate_range, say
from fmkit.report.scores import interval
from fmkit.units import format_bytes, format_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from fmkit.results.recommend import Evidence, Pick, Quality, RecommendResult
    from fmkit.speed.estimate import Range, SpeedEstimate

WIDE_COLUMNS = 100
MEDIUM_COLUMNS = 80
EVIDENCE_MARKS = {"independent": "", "mixed": "~", "vendor": "!"}
MARKS_LEGEND = (
    "quality: 0 to 1 among the catalog's models, with its 80 % interval; ~ some, ! all scores vendor-reported, "
    "* estimated from scores on other benchmarks"
)

CSV_RANGES = ("ttft_s", "texts_per_s", "images_per_s", "real_time_factor")
CSV_COLUMNS = (
    "rank", "model", "precision", "peak_bytes", "decode_tokens_per_s_low", "decode_tokens_per_s_high", "quality",
    "quality_low", "quality_high", "evidence", "score", "licence", "licence_class", "usd_per_1m_tokens", "tied_with",
    *(f"{name}_{end}" for name in CSV_RANGES for end in ("low", "high")), "usd_per_month",
)  # fmt: skip


def print_picks(result: RecommendResult, console: Console) -> None:
    """Draw the list, a line for each model; licence, price and score where there is room."""
    from rich.table import Table
    from rich.text import Text

    wide, medium = console.width >= WIDE_COLUMNS, console.width >= MEDIUM_COLUMNS
    table = Table(box=None, pad_edge=False, padding=(0, 2 if medium else 1, 0, 0), header_style="bold")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("model", overflow="fold", min_width=14)
    table.add_column("prec", no_wrap=True)
    table.add_column("memory", justify="right", no_wrap=medium)
    unit = speed_unit(result)
    table.add_column(unit.name, justify="right", no_wrap=medium)
    table.add_column("quality", no_wrap=medium, min_width=11)
    if medium:
        table.add_column("licence", overflow="fold", min_width=10)
    if wide:
        table.add_column("USD/1M", justify="right", no_wrap=True)
        table.add_column("score", justify="right", no_wrap=True)
    for pick in result.picks:
        cells = [
            _rank(pick, result),
            pick.model,
            pick.precision or "API",
            _memory(pick),
            _speed(pick, unit),
            _quality(pick),
        ]
        cells += [pick.licence.id + ("" if pick.licence.verified else " ?")] if medium else []
        cells += [price(pick), score(pick)] if wide else []
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console.print(table)
    if any(pick.quality.value is not None for pick in result.picks):
        say(console, MARKS_LEGEND)
    if result.ranked and any(pick.rank is None for pick in result.picks):
        say(console, "- in front: not ranked, for want of a comparable score or of a speed")
    if unit.legend:
        say(console, unit.legend)
    if wide or any(pick.cost is not None and pick.cost.usd_per_month is not None for pick in result.picks):
        for line in _price_legend(result):
            say(console, line)


def csv_table(result: RecommendResult) -> str:
    """The picks as CSV with a header; unknown is empty."""
    return csv_text(CSV_COLUMNS, map(_csv_row, result.picks))


def _csv_row(pick: Pick) -> list[object]:
    """In the order of CSV_COLUMNS."""
    speed, cost = pick.speed, pick.cost
    return [
        pick.rank,
        pick.model,
        pick.precision,
        None if pick.memory is None else pick.memory.peak_bytes,
        *_ends(None if speed is None else speed.decode_tokens_per_s),
        pick.quality.value,
        pick.quality.low,
        pick.quality.high,
        evidence_class(pick.quality.evidence) if pick.quality.evidence else None,
        pick.score,
        pick.licence.id,
        pick.licence.licence_class,
        None if cost is None else cost.usd_per_1m_tokens,
        " ".join(pick.tied_with),
        *(end for name in CSV_RANGES for end in _ends(None if speed is None else getattr(speed, name))),
        None if cost is None or cost.usd_per_month is None else f"{cost.usd_per_month:.2f}",
    ]


def _ends(found: Range | None) -> tuple[str | None, str | None]:
    return (None, None) if found is None else (f"{found.low:.4g}", f"{found.high:.4g}")


def markdown_text(result: RecommendResult) -> str:
    """The verdict and the picks as a Markdown table."""
    unit = speed_unit(result)
    header = ("#", "model", "precision", "memory", unit.long_name, "quality", "licence", "USD per 1M", "score")
    rows = [
        (
            _rank(pick, result), pick.model, pick.precision or "API", _memory(pick), _speed(pick, unit), _quality(pick), pick.licence.id,
            price(pick), score(pick),
        )
        for pick in result.picks
    ]  # fmt: skip
    legend = "".join(f"\n{line}" for line in (*filter(None, (unit.legend,)), *_price_legend(result)))
    return f"{result.verdict}\n\n{markdown_table(header, rows)}{legend}" + ("\n" if legend else "")


def _rank(pick: Pick, result: RecommendResult) -> str:
    """The place; models that can't be told apart all bear that of the first of them: 1=, 1=, 3."""
    if pick.rank is None:
        return "-"
    shared = [other.rank for other in result.picks if other.model in pick.tied_with and other.rank is not None]
    return f"{min(pick.rank, *shared)}=" if shared else str(pick.rank)


def _memory(pick: Pick) -> str:
    if pick.memory is None:
        return "-"
    each = f"{pick.devices_used} x " if (pick.devices_used or 1) > 1 else ""
    return f"{each}{format_bytes(pick.memory.per_device_bytes)}"


class SpeedUnit(NamedTuple):
    """The unit that the speeds of a list are in, and the figure that has it."""

    name: str
    long_name: str
    legend: str
    of: Callable[[SpeedEstimate], Range | None]


TOKENS = SpeedUnit("tok/s", "tokens/s", "", lambda speed: speed.decode_tokens_per_s or speed.prefill_tokens_per_s)
SOUND = SpeedUnit(
    "RTF", "RTF", "RTF: real-time factor, seconds of work per second of sound", lambda speed: speed.real_time_factor
)
IMAGES = SpeedUnit("images/s", "images/s", "images/s: taken in by the image tower", lambda speed: speed.images_per_s)


def speed_unit(result: RecommendResult) -> SpeedUnit:
    """Tokens written per second, or what all picks have that write none: images taken in, texts read. Of speech the real-time factor."""
    speeds = [pick.speed for pick in result.picks if pick.speed is not None]
    if speeds and all(speed.real_time_factor is not None for speed in speeds):
        return SOUND
    if not speeds or any(speed.decode_tokens_per_s is not None for speed in speeds):
        return TOKENS
    if all(speed.images_per_s is not None for speed in speeds):
        return IMAGES
    return _texts(result) if all(speed.texts_per_s is not None for speed in speeds) else TOKENS


def _texts(result: RecommendResult) -> SpeedUnit:
    """Texts per second, with how long they are."""
    tokens = result.understood.get("prompt_tokens")
    legend = f"texts/s: texts of {tokens:,} tokens each" if isinstance(tokens, int) else ""
    return SpeedUnit("texts/s", "texts/s", legend, lambda speed: speed.texts_per_s)


def _speed(pick: Pick, unit: SpeedUnit) -> str:
    if pick.speed is None:
        return "-" if pick.memory is None else "unknown"
    rate = unit.of(pick.speed)
    return "-" if rate is None else rate_range(rate, "-")


def _quality(pick: Pick) -> str:
    quality = pick.quality
    if quality.value is None or quality.low is None or quality.high is None:
        return "no score"
    return interval(quality.value, quality.low, quality.high, _mark(quality))


def _mark(quality: Quality) -> str:
    return EVIDENCE_MARKS[evidence_class(quality.evidence)] if quality.evidence else "*"


def price(pick: Pick) -> str:
    """USD per million tokens."""
    found = None if pick.cost is None else pick.cost.usd_per_1m_tokens
    return "-" if found is None else format_rate(found)


def score(pick: Pick) -> str:
    """What the ranking rests on, 0 to 1."""
    return "-" if pick.score is None else f"{pick.score:.2f}"


def _price_legend(result: RecommendResult) -> list[str]:
    """What the prices of the table rest on, shown at the first that has one of each kind."""
    priced = [pick for pick in result.picks if pick.cost is not None and pick.cost.usd_per_1m_tokens is not None]
    hosted = next((pick for pick in priced if pick.memory is not None), None)
    listed = next((pick for pick in priced if pick.memory is None), None)
    return [
        f"USD/1M of {pick.model}: {pick.cost.assumption}{_month(pick)}"
        for pick in (hosted, listed)
        if pick and pick.cost
    ]


def _month(pick: Pick) -> str:
    """What the requests asked about cost in a month, where a load was given."""
    month = None if pick.cost is None else pick.cost.usd_per_month
    return "" if month is None else f"; {month:,.0f} USD per month" if month >= 1 else "; under 1 USD per month"


def evidence_class(evidence: Sequence[Evidence]) -> str:
    """Who reported the scores: `independent` all of them, `vendor` none independent, else `mixed`."""
    independent = sum(one.reported_by == "independent" for one in evidence)
    if independent == len(evidence):
        return "independent"
    return "mixed" if independent else "vendor"
