"""The speed that `fmkit vram` expects: a table by workload and precision, the same in Markdown, and its columns in CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fmkit.report.common import COLUMN_GAP, markdown_table, print_table, rate_with_range, say, wait_with_range
from fmkit.units import format_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from fmkit.results.vram import Estimate, VramResult
    from fmkit.speed.estimate import Range, SpeedEstimate

MOST_ROWS = 12
"""More rows than this are left to --detail, --csv and --json."""

CSV_FIGURES = (
    "ttft_s", "prefill_tokens_per_s", "decode_tokens_per_s", "throughput_tokens_per_s", "images_per_s", "texts_per_s",
    "real_time_factor", "energy_j_per_1k_tokens",
)  # fmt: skip
CSV_COLUMNS = (*(f"{name}_{end}" for name in CSV_FIGURES for end in ("low", "median", "high")), "speed_basis")


class _Row(NamedTuple):
    """One estimate with a speed."""

    estimate: Estimate
    speed: SpeedEstimate


def print_speeds(result: VramResult, console: Console, *, detail: bool) -> None:
    """A row for each workload and precision that fits and has a speed; nothing where none has.

    Below it what each precision rests on, at the first workload.
    """
    rows = _rows(result)
    if not rows:
        return
    console.print()
    say(console, _title(rows), style="bold")
    header, cells = _table(rows, detail=detail)
    shown = cells if detail else cells[:MOST_ROWS]
    if _width(header, shown) <= console.width:
        print_table(console, header, shown, whole=range(len(header)), indent=2)
    else:
        for cell_row in shown:
            say(console, _sentence(header, cell_row), indent=2)
    if len(cells) > len(shown):
        say(console, f"and {len(cells) - len(shown)} more: --detail", indent=2)
    for line in _grounds(rows, detail=detail):
        say(console, line, indent=2)
    for line in _first_loads(rows) if detail else ():
        say(console, line, indent=2)


def speeds_markdown(result: VramResult) -> str:
    """The same as a table, each row with what its figures rest on; empty where no speed is predicted."""
    rows = _rows(result)
    if not rows:
        return ""
    header, cells = _table(rows)
    based = [[*line, f"{rests_on(row.speed)}: {row.speed.reason}"] for line, row in zip(cells, rows, strict=True)]
    return f"{_title(rows)}\n\n{markdown_table([*header, 'rests on'], based)}"


def csv_cells(speed: SpeedEstimate | None) -> list[str | None]:
    """The figures in the order of CSV_COLUMNS, in the units that their names say; None where one does not apply."""
    if speed is None:
        return [None] * len(CSV_COLUMNS)
    ranges: list[Range | None] = [getattr(speed, name) for name in CSV_FIGURES]
    ends = ((None,) * 3 if found is None else (found.low, found.median, found.high) for found in ranges)
    return [*(None if end is None else f"{end:.6g}" for three in ends for end in three), speed.basis]


def rests_on(speed: SpeedEstimate) -> str:
    """The basis of decoding, and that of the first token where it is another."""
    prefill = speed.prefill_basis
    if speed.decode_basis is None or prefill is None or prefill.basis == speed.decode_basis.basis:
        return speed.basis
    return f"{speed.basis}, first token {prefill.basis}"


def _rows(result: VramResult) -> list[_Row]:
    """What fits and has a speed, by workload, then by precision."""
    found = [
        _Row(one, one.speed)
        for one in result.estimates
        if one.speed is not None and one.fits is not False and one.valid
    ]
    workloads = list(dict.fromkeys((one.context_tokens, one.sequences) for one in result.estimates))
    return sorted(found, key=lambda row: workloads.index((row.estimate.context_tokens, row.estimate.sequences)))


def _title(rows: Sequence[_Row]) -> str:
    """What the figures are; of a model that reads a prompt and writes, how long the prompt is."""
    heard = any(row.speed.real_time_factor is not None or row.estimate.encoder_tokens for row in rows)
    writes = any(row.speed.decode_tokens_per_s is not None for row in rows)
    prompt = " after a prompt that fills the context" if writes and not heard else ""
    return f"Speed{prompt}, an estimate: median (low to high)"


def _table(rows: Sequence[_Row], *, detail: bool = False) -> tuple[list[str], list[list[str]]]:
    """The columns that any row has a figure for, and the cells of each row."""
    several = any(row.estimate.sequences > 1 for row in rows)
    columns = [
        (name, cell)
        for name, cell in _columns(several=several, detail=detail)
        if any(cell(row.speed) is not None for row in rows)
    ]
    header = ["context" if _writes(rows) else "input", "precision", *(name for name, _ in columns)]
    return header, [
        [_workload(row.estimate, several=several), row.estimate.precision.upper()]
        + [cell(row.speed) or "-" for _, cell in columns]
        for row in rows
    ]


def _width(header: Sequence[str], cells: Sequence[Sequence[str]]) -> int:
    """Columns that the table takes with its indent."""
    return sum(max(map(len, column)) + COLUMN_GAP for column in zip(header, *cells, strict=True))


def _sentence(header: Sequence[str], cells: Sequence[str]) -> str:
    """A row of the table for a terminal that it is too wide for.

    >>> _sentence(["context", "precision", "tokens/s", "first token after"], ["4k", "INT4", "50 (40 to 60)", "-"])
    'INT4 at 4k: tokens/s 50 (40 to 60)'
    """
    facts = zip(header[2:], cells[2:], strict=True)
    return f"{cells[1]} at {cells[0]}: {', '.join(f'{name} {cell}' for name, cell in facts if cell != '-')}"


def _writes(rows: Sequence[_Row]) -> bool:
    return any(row.speed.decode_tokens_per_s is not None for row in rows)


def _workload(estimate: Estimate, *, several: bool) -> str:
    context = format_tokens(estimate.context_tokens)
    return f"{estimate.sequences} x {context}" if several else context


def _columns(*, several: bool, detail: bool) -> Iterator[tuple[str, Callable[[SpeedEstimate], str | None]]]:
    """Names with their units, and the cell of an estimate: None where the figure does not apply to it."""
    yield ("tokens/s each" if several else "tokens/s"), lambda speed: _rate(speed.decode_tokens_per_s)
    if several:
        yield "tokens/s in all", lambda speed: _rate(speed.throughput_tokens_per_s)
    yield "first token after", lambda speed: _wait(speed) if speed.decode_tokens_per_s is not None else None
    yield "one pass takes", lambda speed: _wait(speed) if speed.decode_tokens_per_s is None else None
    yield "s per s of sound", lambda speed: _factor(speed.real_time_factor)
    yield "texts/s", lambda speed: _rate(speed.texts_per_s)
    yield "images/s", lambda speed: _rate(speed.images_per_s) if speed.decode_tokens_per_s is None else None
    yield "tokens/s read", _read
    if detail:
        yield "J per 1k tokens", lambda speed: _rate(speed.energy_j_per_1k_tokens)


def _rate(rate: Range | None) -> str | None:
    return None if rate is None else rate_with_range(rate)


def _wait(speed: SpeedEstimate) -> str | None:
    return None if speed.ttft_s is None else wait_with_range(speed.ttft_s)


def _factor(factor: Range | None) -> str | None:
    return None if factor is None else f"{factor.median:.2g} ({factor.low:.2g} to {factor.high:.2g})"


def _read(speed: SpeedEstimate) -> str | None:
    """What a model that only reads takes in; of one with pictures those are counted instead."""
    if speed.decode_tokens_per_s is not None or speed.images_per_s is not None:
        return None
    return _rate(speed.prefill_tokens_per_s)


def _grounds(rows: Sequence[_Row], *, detail: bool) -> Iterator[str]:
    """What each precision rests on, at its first workload; of those on the same basis the first is told, with `detail` all."""
    alike: dict[str, list[_Row]] = {}
    for row in _first_of_each(rows):
        alike.setdefault(row.estimate.precision if detail else rests_on(row.speed), []).append(row)
    for first, *others in alike.values():
        names = " and ".join(row.estimate.precision.upper() for row in others)
        same = f"; {names} on the same basis" if names else ""
        yield f"{_named(first)}: {first.speed.reason}{same}"


def _first_loads(rows: Sequence[_Row]) -> Iterator[str]:
    """The first load from disk of each precision."""
    for row in _first_of_each(rows):
        load = row.speed.load
        if load is not None:
            precision = row.estimate.precision.upper()
            yield f"{precision}: first load {wait_with_range(load.seconds)} ({load.basis}: {load.reason})"


def _first_of_each(rows: Sequence[_Row]) -> list[_Row]:
    """Of each precision its first workload."""
    firsts: dict[str, _Row] = {}
    for row in rows:
        firsts.setdefault(row.estimate.precision, row)
    return list(firsts.values())


def _named(row: _Row) -> str:
    estimate = row.estimate
    return f"{estimate.precision.upper()} at {_workload(estimate, several=estimate.sequences > 1)}"
