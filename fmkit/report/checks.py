"""Checks for people: the list of them, and the results of a trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fmkit.report.common import NARROW_COLUMNS, print_table, say

if TYPE_CHECKING:
    from rich.console import Console

    from fmkit.results.trial import Check, CheckList

MARKS = {True: "pass", False: "FAIL", None: "n/a"}


def print_checks(listed: CheckList, console: Console) -> None:
    """Every check with its question, its threshold and where that comes from."""
    say(console, "Checks of fmkit try (--checks NAME,NAME; quick: the default; all; none)", style="bold")
    for check in listed.checks:
        console.print()
        say(console, f"{check.name}{'' if check.quick else ' (only by name)'}", style="bold")
        say(console, check.question, indent=2)
        say(console, f"passes: {check.reason}", indent=2)
        say(console, f"source: {check.source}", indent=2)
        if check.needs:
            say(console, f"needs: {check.needs}", indent=2)


def print_results(checks: Sequence[Check], console: Console) -> None:
    """One row for each check and, of those that failed, why the threshold is what it is; those without the same answer share a line."""
    reasons = Counter(check.detail for check in checks if check.passed is None)
    alike = [check for check in checks if check.passed is None and reasons[check.detail] > 1]
    _print_each([check for check in checks if check not in alike], console)
    for detail in dict.fromkeys(check.detail for check in alike):
        names = ", ".join(check.name for check in alike if check.detail == detail)
        say(console, f"{MARKS[None]}  {names}: {detail}", indent=2)
    for check in checks:
        if check.passed is False and check.reason:
            say(console, f"{check.name} passes with: {check.reason} ({check.source})", indent=2)


def _print_each(checks: Sequence[Check], console: Console) -> None:
    if not checks:
        return
    if console.width < NARROW_COLUMNS:
        for check in checks:
            say(console, check_line(check), indent=2)
    else:
        rows = [
            (MARKS[check.passed], check.name, number(check.value), number(check.threshold), check.detail)
            for check in checks
        ]
        print_table(console, ("", "check", "value", "limit", "what it says"), rows, right=(2, 3), indent=2)


def check_line(check: Check) -> str:
    """One check in one line."""
    value = "" if check.value is None else f" {number(check.value)}"
    limit = "" if check.threshold is None else f" (limit {number(check.threshold)})"
    return f"{MARKS[check.passed]:4} {check.name}{value}{limit}: {check.detail}"


def number(value: float | None) -> str:
    """A value with three significant digits, whole numbers with all of theirs.

    >>> number(None), number(0.123456), number(65536.0), number(7.0)
    ('-', '0.123', '65,536', '7')
    """
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == round(value) else f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
