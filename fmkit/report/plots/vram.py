"""The picture of an estimate: memory by part over context, a row for each number of sequences and a panel for each precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.plots.figure import Bar, BarGroup, Figure, Panel
from fmkit.report.plots.trials import BESIDE, CONTEXT
from fmkit.report.plots.units import bytes_unit
from fmkit.units import format_bytes, format_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmkit.results.vram import Estimate, VramResult
    from fmkit.sizing.estimate import MemoryLine

MOST_IN_A_ROW = 3


def vram_figure(result: VramResult) -> Figure:
    """Every estimate of the answer, with the budget of the machine where there is one."""
    if not result.estimates:
        return Figure(title=result.verdict, subtitle="", rows=())
    unit, name = bytes_unit([found.high_bytes for found in result.estimates])
    by_panel: dict[tuple[int, str], list[Estimate]] = {}
    for found in result.estimates:
        by_panel.setdefault((found.sequences, found.precision), []).append(found)
    top = max(found.high_bytes for found in result.estimates)
    budget = result.estimates[0].budget_bytes
    if budget is not None and budget > 2 * top:
        budget = None  # far above everything: the bars would be flat
    panels = [_panel(key, found, unit, name, max(top, budget or 0), budget) for key, found in by_panel.items()]
    first = result.estimates[0]
    machine = "" if result.machine is None else f" on {result.machine.name}"
    return Figure(
        title=result.verdict,
        subtitle=f"{result.model.hub_id or result.model.ref}, {first.engine} {first.engine_version}{machine}: peak memory, estimated",
        rows=tuple(tuple(panels[start : start + MOST_IN_A_ROW]) for start in range(0, len(panels), MOST_IN_A_ROW)),
        legend=_legend(result.estimates),
        notes=("The line on a bar is the range of the peak. Beside the tensors: the engine's runtime.",),
    )


def _legend(estimates: Sequence[Estimate]) -> tuple[str, ...]:
    """The parts in the order of the stack."""
    return tuple(dict.fromkeys(name for found in estimates for name, _ in _bar(found).parts))


def _panel(
    key: tuple[int, str], found: Sequence[Estimate], unit: float, name: str, top: float, budget: int | None
) -> Panel:
    sequences, precision = key
    return Panel(
        title=f"{precision.upper()}, {sequences:,} sequence{'' if sequences == 1 else 's'}",
        x_label=CONTEXT,
        y_label=name,
        groups=tuple(BarGroup(label=format_tokens(one.context_tokens), bars=(_bar(one),)) for one in found),
        unit=unit,
        top=top,
        limit=None if budget is None else (float(budget), f"usable: {format_bytes(budget)}"),
    )


def _bar(estimate: Estimate) -> Bar:
    sizes: dict[str, float] = {}
    for line in sorted(estimate.lines, key=lambda line: line.kind == "runtime"):  # which stands at the top
        sizes[_part(line)] = sizes.get(_part(line), 0) + line.bytes
    return Bar(parts=tuple(sizes.items()), solid=False, low=estimate.low_bytes, high=estimate.high_bytes)


def _part(line: MemoryLine) -> str:
    return BESIDE if line.kind == "runtime" else line.kind
