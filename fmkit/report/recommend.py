"""A recommendation for people: the verdict, the list, why the others are out, what would change the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import print_next, reach, say
from fmkit.report.recommend_picks import print_found, print_live, print_notes
from fmkit.report.recommend_table import print_picks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from fmkit.results.recommend import RecommendResult

MANY = 4
NOT_MEANT = frozenset({"task", "kind", "tuning", "size", "retired"})
"""Constraints that nobody asked for: models that are for something else come last among the excluded."""
NOBODY = {"none": "no model is left", "not ranked": "too few models with a score are left to rank them"}


def print_recommendation(result: RecommendResult, console: Console, *, explain: bool = False) -> None:
    """Draw the whole answer on a rich console of any width."""
    say(console, result.verdict, style="bold")
    if result.picks:
        console.print()
        print_picks(result, console)
        print_notes(result, console, explain=explain)
        print_found(result, console)
        print_live(result, console, explain=explain)
    if result.why_not:
        console.print()
    for line in result.why_not:
        say(console, line)
    _print_excluded(result, console)
    _print_changes(result, console)
    console.print()
    say(console, f"catalog of {result.catalog}{reach(result.age)}", style="dim")
    if result.picks:
        print_next(result.picks[0].next, console)


def _print_excluded(result: RecommendResult, console: Console) -> None:
    groups: dict[str, list[str]] = {}
    for one in result.excluded:
        missed = f" by {one.missed_by}" if one.missed_by else ""
        groups.setdefault(one.constraint, []).append(f"{one.model}{missed}")
    if not groups:
        return
    console.print()
    say(console, f"{len(result.excluded)} models are out:", style="bold")
    beside = [one for one in result.excluded if one.next is not None]
    for constraint, models in sorted(groups.items(), key=lambda g: (g[0] in NOT_MEANT, -len(g[1]), g[0])):
        say(console, f"{constraint} {len(models)}: {_some(models)}", indent=2)
        if constraint == "memory" and beside:
            more = len(beside) - 1
            others = f", as {'do' if more > 1 else 'does'} {more} more" if more else ""
            say(console, f"{beside[0].model} fits with experts in main memory{others}", indent=2)
            print_next(filter(None, (beside[0].next,)), console, indent=2)


def _print_changes(result: RecommendResult, console: Console) -> None:
    if not result.relax and not result.sensitivity:
        return
    console.print()
    say(console, "What would change the answer:", style="bold")
    for change in result.sensitivity:
        say(console, f"{change.change}: {NOBODY.get(change.new_winner, change.new_winner)}", indent=2)
    for loosened in result.relax:
        say(console, f"{loosened.constraint} {loosened.to}: adds {_some(loosened.would_add)}", indent=2)


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    return f"{', '.join(names[:MANY])}{rest}"
