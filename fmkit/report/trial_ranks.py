"""Memory of each process of a divided model, beside what was predicted for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import bytes_or_unknown, print_table

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.results.trial import RankResult, TrialResult

PARTS = {
    "weights": "weights",
    "cache": "cache",
    "allocated_peak_bytes": "allocated peak",
    "process_peak_bytes": "process peak",
}
"""The parts shown of a rank, and what they are called."""


def print_ranks(result: TrialResult, console: Console) -> None:
    """One row for each rank, under the prediction for one; nothing for a model in one process."""
    if not result.ranks:
        return
    console.print()
    predicted = result.ranks[0].predicted
    several_hosts = len({each.host for each in result.ranks}) > 1
    rows = [("predicted", *(bytes_or_unknown(predicted.get(part)) for part in PARTS))]
    rows += [
        (_name(each, several_hosts), *(bytes_or_unknown(each.measured.get(part)) for part in PARTS))
        for each in result.ranks
    ]
    print_table(console, ("each rank", *PARTS.values()), rows, right=(1, 2, 3, 4))


def _name(rank: RankResult, several_hosts: bool) -> str:
    return f"{rank.rank} on {rank.host}" if several_hosts else f"{rank.rank}"
